#include "io/tile_reader.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "io/box_halve.h"
#include "tests/support/synthetic_slide.h"

namespace vtissue::io {
namespace {

using testing::constant_picture;
using testing::cut;
using ::testing::HasSubstr;
using testing::noise_picture;

/// Levels in memory.
class MemorySlide final : public SlideReader {
 public:
  MemorySlide(std::vector<RgbImage> levels, std::optional<double> mpp) : levels_(std::move(levels)) {
    info_.path = "memory";
    for (const RgbImage& level : levels_) {
      const auto downsample = static_cast<double>(levels_[0].size.width / level.size.width);
      info_.levels.push_back({{level.size.width, level.size.height}, downsample});
    }
    if (mpp) info_.mpp = Mpp{*mpp, *mpp, "test"};
  }
  const SlideInfo& info() const override { return info_; }
  void read(int level, Point<Level0Px> origin, Size<LevelPx> size, std::span<std::uint8_t> out) const override {
    const Box<LevelPx> box = checked_box(level, origin, size, out.size());
    const RgbImage piece = cut(levels_[static_cast<std::size_t>(level)],
                               {{box.origin.x, box.origin.y}, {box.size.width, box.size.height}});
    std::copy(piece.rgb.begin(), piece.rgb.end(), out.begin());
  }
  Picture thumbnail(int longest_px) const override { return area_thumbnail(longest_px); }

 private:
  std::vector<RgbImage> levels_;
  SlideInfo info_;
};

std::shared_ptr<MemorySlide> pyramid(const RgbImage& picture, int levels, std::optional<double> mpp) {
  std::vector<RgbImage> images{picture};
  for (int level = 1; level < levels; ++level) images.push_back(halved(images.back()));
  return std::make_shared<MemorySlide>(images, mpp);
}

TEST(TileReader, ChoosesTheSmallestLevelThatIsFineEnough) {
  const auto slide = pyramid(noise_picture({640, 480}), 4, 0.25);
  const auto level_at = [&](double mpp) { return TileReader(slide, mpp).level(); };
  EXPECT_EQ(level_at(0.25), 0);
  EXPECT_EQ(level_at(0.49), 0);
  EXPECT_EQ(level_at(0.4951), 1);  // within 1 %
  EXPECT_EQ(level_at(0.5), 1);
  EXPECT_EQ(level_at(0.99), 1);
  EXPECT_EQ(level_at(1.0), 2);
  EXPECT_EQ(level_at(50.0), 3);
}

TEST(TileReader, SizeIsTheWholeSlideAtTheTarget) {
  const auto slide = pyramid(noise_picture({640, 480}), 1, 0.25);
  EXPECT_EQ(TileReader(slide, 0.5).size(), (Size<TargetPx>{320, 240}));
  EXPECT_EQ(TileReader(slide, 0.7).size(), (Size<TargetPx>{228, 171}));
  EXPECT_DOUBLE_EQ(TileReader(slide, 0.7).scale(), 2.8);
}

TEST(TileReader, CopiesALevelThatFits) {
  const RgbImage picture = noise_picture({640, 480});
  const TileReader reader(pyramid(picture, 3, 0.25), 0.5);
  const Box<TargetPx> box{{13, 7}, {100, 90}};
  EXPECT_EQ(reader.read(box), cut(halved(picture), box).rgb);
}

TEST(TileReader, ABoxDoesNotDependOnTheCut) {
  const auto slide = pyramid(noise_picture({640, 480}), 3, 0.25);
  for (const double mpp : {0.248, 0.25, 0.33, 0.5, 0.7, 1.1}) {
    const TileReader reader(slide, mpp);
    const RgbImage whole{reader.size(), reader.read({{0, 0}, reader.size()})};
    for (const Box<TargetPx> box : {Box<TargetPx>{{0, 0}, {40, 40}}, Box<TargetPx>{{31, 17}, {64, 64}},
                                    Box<TargetPx>{{-20, -10}, {64, 64}}, Box<TargetPx>{{100, 90}, {1000, 1000}}}) {
      EXPECT_EQ(reader.read(box), cut(whole, box).rgb) << mpp;
    }
  }
}

TEST(TileReader, KeepsAConstantUpToTheEdge) {
  const auto slide = pyramid(constant_picture({648, 488}, 90, 60, 130), 4, 0.25);
  for (const double mpp : {0.248, 0.3, 0.7, 1.0, 3.1}) {
    const TileReader reader(slide, mpp);
    EXPECT_EQ(reader.read({{0, 0}, reader.size()}), constant_picture(reader.size(), 90, 60, 130).rgb) << mpp;
  }
}

TEST(TileReader, IsWhiteOutside) {
  const TileReader reader(pyramid(constant_picture({64, 64}, 0, 0, 0), 1, 0.25), 0.25);
  EXPECT_EQ(reader.read({{64, 0}, {8, 8}}), constant_picture({8, 8}, 255, 255, 255).rgb);
  EXPECT_EQ(reader.read({{-8, -8}, {8, 8}}), constant_picture({8, 8}, 255, 255, 255).rgb);
  EXPECT_TRUE(reader.read({{0, 0}, {0, 5}}).empty());
}

TEST(TileReader, RefusesWhatCannotBeShown) {
  const auto expect_error = [](std::optional<double> slide_mpp, double target, ErrorCode code, const char* text) {
    try {
      TileReader(pyramid(constant_picture({64, 64}, 0, 0, 0), 1, slide_mpp), target);
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_THAT(error.what(), HasSubstr(text));
    }
  };
  expect_error({}, 0.5, ErrorCode::kBadInput, "memory: no trustworthy µm/px in the slide; pass it with --mpp");
  expect_error(0.5, 0.49, ErrorCode::kUsage, "target of 0.49 µm/px is finer than the slide's 0.5 µm/px");
  expect_error(0.5, -1, ErrorCode::kUsage, "positive");
}

TEST(TileReader, RealSlideFitsTogether) {
  const char* const data = std::getenv("VTISSUE_DATA");
  if (data == nullptr) GTEST_SKIP() << "VTISSUE_DATA names no folder with slides";
  const std::filesystem::path slides = std::filesystem::path(data) / "slides";
  // Level 1 of this one has a fractional downsample in OpenSlide's eyes.
  const std::shared_ptr<SlideReader> slide = SlideReader::open(slides / "tcga-cr-7395-01a-01-ts1.svs", {.mpp = 0.25});
  const TileReader reader(slide, 0.7);
  EXPECT_EQ(reader.level(), 1);
  const RgbImage large{{500, 400}, reader.read({{400, 300}, {500, 400}})};
  for (const Point<TargetPx> at : {Point<TargetPx>{0, 0}, Point<TargetPx>{128, 64}, Point<TargetPx>{301, 200}}) {
    EXPECT_EQ(reader.read({{400 + at.x, 300 + at.y}, {128, 128}}), cut(large, {at, {128, 128}}).rgb);
  }
}

}  // namespace
}  // namespace vtissue::io
