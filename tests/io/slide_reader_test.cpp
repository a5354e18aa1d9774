#include "io/slide_reader.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <vips/vips8>

#include "core/error.h"
#include "io/icc_profile.h"
#include "io/jpeg_tile.h"
#include "io/png.h"
#include "io/vips_runtime.h"
#include "tests/support/synthetic_slide.h"
#include "tests/support/temp_folder.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::constant_picture;
using testing::cut;
using ::testing::HasSubstr;
using testing::noise_picture;
using testing::TempFolder;
using testing::write_slide;

fs::path data_folder() {
  const char* const data = std::getenv("VTISSUE_DATA");
  return data == nullptr ? fs::path() : fs::path(data);
}

#define SKIP_WITHOUT_DATA() \
  if (data_folder().empty()) GTEST_SKIP() << "VTISSUE_DATA names no folder with slides"

std::vector<std::uint8_t> read(const SlideReader& slide, int level, Box<LevelPx> box) {
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(box.size.area()) * 3);
  slide.read(level, level_origin(slide.info().levels[static_cast<std::size_t>(level)], box.origin), box.size, rgb);
  return rgb;
}

void write_bytes(const fs::path& path, std::span<const std::byte> bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void expect_refused(const fs::path& path, const std::string& text) {
  try {
    SlideReader::open(path);
    FAIL() << path << " was opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    EXPECT_THAT(error.what(), AllOf(HasSubstr(path.string()), HasSubstr(text)));
  }
}

TEST(SlideReader, ReadsAPyramidPixelByPixel) {
  const TempFolder folder;
  const RgbImage picture = noise_picture({1100, 1040});
  write_slide(folder / "a.tiff", picture, 0.5);
  const auto slide = SlideReader::open(folder / "a.tiff");
  EXPECT_EQ(slide->info().format, "aperio");
  ASSERT_EQ(slide->info().levels.size(), 3u);
  EXPECT_DOUBLE_EQ(slide->info().mpp->x, 0.5);
  EXPECT_EQ(slide->info().mpp->source, "openslide.mpp-x");
  const Box<LevelPx> box{{1000, 950}, {150, 150}};  // beyond the right and lower edge
  EXPECT_EQ(read(*slide, 0, box), cut(picture, {{1000, 950}, {150, 150}}).rgb);
  EXPECT_EQ(SlideReader::open(folder / "a.tiff", {.mpp = 0.3})->info().mpp->source, "--mpp");
}

TEST(SlideReader, IsWhiteOutside) {
  const TempFolder folder;
  write_slide(folder / "a.tiff", constant_picture({64, 64}, 0, 0, 0), 0.5);
  const auto slide = SlideReader::open(folder / "a.tiff");
  EXPECT_EQ(read(*slide, 0, {{-16, 70}, {8, 8}}), constant_picture({8, 8}, 255, 255, 255).rgb);
  EXPECT_EQ(read(*slide, 0, {{-4, -4}, {8, 8}})[0], 255);
  EXPECT_EQ(read(*slide, 0, {{-4, -4}, {8, 8}})[(7 * 8 + 7) * 3], 0);
}

TEST(SlideReader, RefusesArgumentsOfTheCaller) {
  const TempFolder folder;
  write_slide(folder / "a.tiff", constant_picture({1024, 1024}, 0, 0, 0), 0.5);
  const auto slide = SlideReader::open(folder / "a.tiff");
  std::vector<std::uint8_t> rgb(8 * 8 * 3);
  EXPECT_THROW(slide->read(1, {3, 0}, {8, 8}, rgb), std::invalid_argument);
  EXPECT_THROW(slide->read(2, {0, 0}, {8, 8}, rgb), std::invalid_argument);
  EXPECT_THROW(slide->read(-1, {0, 0}, {8, 8}, rgb), std::invalid_argument);
  EXPECT_THROW(slide->read(0, {0, 0}, {8, 7}, rgb), std::invalid_argument);
  EXPECT_THROW(slide->thumbnail(0), std::invalid_argument);
  EXPECT_NO_THROW(slide->read(1, {4, -2}, {8, 8}, rgb));
}

TEST(SlideReader, RefusesWhatIsNoSlide) {
  const TempFolder folder;
  expect_refused(folder / "missing.svs", "no such file");
  expect_refused(folder.path(), "a folder");
  std::ofstream(folder / "notes.txt") << "patient notes";
  expect_refused(folder / "notes.txt", "not recognised as a slide or picture");
  std::ofstream(folder / "empty.svs").flush();
  expect_refused(folder / "empty.svs", "not recognised");
}

TEST(SlideReader, RefusesTruncatedFiles) {
  const TempFolder folder;
  write_slide(folder / "a.tiff", noise_picture({600, 600}), 0.5);
  const auto bytes = fs::file_size(folder / "a.tiff");
  for (const double fraction : {0.01, 0.3, 0.9, 0.999}) {
    fs::copy_file(folder / "a.tiff", folder / "cut.tiff", fs::copy_options::overwrite_existing);
    fs::resize_file(folder / "cut.tiff", static_cast<std::uintmax_t>(static_cast<double>(bytes) * fraction));
    expect_refused(folder / "cut.tiff", "truncated");
  }
  const RgbImage picture = noise_picture({300, 300});
  const auto png = encode_png(picture);
  write_bytes(folder / "cut.png", std::span(png).first(png.size() / 2));
  expect_refused(folder / "cut.png", "truncated: the end of the PNG");
  const auto jpeg = encode_jpeg_file(picture.rgb, 300, 300, 90);
  write_bytes(folder / "cut.jpg", std::span(jpeg).first(jpeg.size() / 2));
  expect_refused(folder / "cut.jpg", "truncated: the end of the JPEG");
}

/// A slide whose first tile is damaged.
void write_damaged_slide(const fs::path& path, const RgbImage& picture) {
  PyramidOptions options;
  options.mpp = 0.5;
  options.codec = PyramidCodec::kDeflate;
  write_slide(path, picture, options);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(16);  // the first tile follows the header
  const std::string garbage(64, '\x7f');
  file.write(garbage.data(), static_cast<std::streamsize>(garbage.size()));
}

TEST(SlideReader, ADamagedTileIsAnErrorAndNothingElseIs) {
  const TempFolder folder;
  const RgbImage picture = noise_picture({512, 512});
  write_damaged_slide(folder / "a.tiff", picture);
  const auto slide = SlideReader::open(folder / "a.tiff");
  for (int round = 0; round < 2; ++round) {
    try {
      read(*slide, 0, {{0, 0}, {64, 64}});
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadInput);
      EXPECT_THAT(error.what(), HasSubstr("a.tiff: level 0, box at (0, 0) of 64 x 64 px cannot be decoded"));
    }
    EXPECT_EQ(read(*slide, 0, {{256, 256}, {64, 64}}), cut(picture, {{256, 256}, {64, 64}}).rgb);
  }
}

TEST(SlideReader, ADamagedTileDoesNotDisturbOtherThreads) {
  const TempFolder folder;
  const RgbImage picture = noise_picture({512, 512});
  write_damaged_slide(folder / "a.tiff", picture);
  const auto slide = SlideReader::open(folder / "a.tiff");
  std::atomic<int> wrong = 0, refused = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 12; ++i) {
        try {
          const std::int64_t x = (thread + i) % 4 == 0 ? 0 : 256;
          const auto rgb = read(*slide, 0, {{x, 0}, {64, 64}});
          if (x == 0 || rgb != cut(picture, {{x, 0}, {64, 64}}).rgb) ++wrong;
        } catch (const Error&) {
          ++((thread + i) % 4 == 0 ? refused : wrong);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(refused, 12);
}

TEST(SlideReader, ReadsPlainPictures) {
  const TempFolder folder;
  const RgbImage picture = noise_picture({300, 200});
  write_picture(folder / "a.png", picture);
  const auto slide = SlideReader::open(folder / "a.png");
  EXPECT_EQ(slide->info().format, "image");
  EXPECT_FALSE(slide->info().mpp);
  EXPECT_EQ(slide->info().levels.at(0).size, (Size<LevelPx>{300, 200}));
  EXPECT_EQ(read(*slide, 0, {{-5, 150}, {320, 60}}), cut(picture, {{-5, 150}, {320, 60}}).rgb);

  write_bytes(folder / "grey.png", encode_png(std::vector<std::uint8_t>{0, 100, 200, 255}, 2, 2, 1));
  EXPECT_EQ(read(*SlideReader::open(folder / "grey.png"), 0, {{0, 0}, {2, 1}}),
            (std::vector<std::uint8_t>{0, 0, 0, 100, 100, 100}));
  write_bytes(folder / "alpha.png", encode_png(std::vector<std::uint8_t>{10, 20, 30, 0, 10, 20, 30, 255}, 2, 1, 4));
  EXPECT_EQ(read(*SlideReader::open(folder / "alpha.png"), 0, {{0, 0}, {2, 1}}),
            (std::vector<std::uint8_t>{255, 255, 255, 10, 20, 30}));
}

double mean_difference(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

/// As `vips tiffsave` writes it: levels down to less than a tile, which libtiff garbles for OpenSlide.
TEST(SlideReader, ReadsLevelsSmallerThanATile) {
  const TempFolder folder;
  ensure_image_libraries();
  for (const Size<TargetPx> size : {Size<TargetPx>{600, 500}, Size<TargetPx>{300, 100}, Size<TargetPx>{50, 40}}) {
    RgbImage picture = testing::tissue_picture(size, 0.7);
    vips::VImage::new_from_memory(picture.rgb.data(), picture.rgb.size(), static_cast<int>(size.width),
                                  static_cast<int>(size.height), 3, VIPS_FORMAT_UCHAR)
        .tiffsave((folder / "a.tiff").c_str(), vips::VImage::option()
                                                   ->set("tile", true)
                                                   ->set("tile_width", 128)
                                                   ->set("tile_height", 128)
                                                   ->set("pyramid", true)
                                                   ->set("compression", VIPS_FOREIGN_TIFF_COMPRESSION_DEFLATE));
    const auto slide = SlideReader::open(folder / "a.tiff");
    EXPECT_EQ(read(*slide, 0, {{0, 0}, {size.width, size.height}}), picture.rgb);
    const auto small = slide->thumbnail(32);
    write_picture(folder / "a.png", picture);
    EXPECT_LT(mean_difference(small.rgb, SlideReader::open(folder / "a.png")->thumbnail(32).rgb), 2);
  }
}

TEST(SlideReader, ThumbnailsAreTheWholeSlide) {
  const TempFolder folder;
  const RgbImage picture = testing::tissue_picture({1500, 1000}, 0.7);
  write_picture(folder / "a.png", picture);
  write_picture(folder / "a.jpg", picture);
  write_slide(folder / "a.tiff", picture, 0.7);
  const auto reference = SlideReader::open(folder / "a.png")->thumbnail(150);
  EXPECT_EQ(reference.size, (Size<LevelPx>{150, 100}));
  EXPECT_DOUBLE_EQ(reference.downsample, 10);
  for (const char* name : {"a.jpg", "a.tiff"}) {  // shrunk while loading; from a level
    const auto picture_of = SlideReader::open(folder / name)->thumbnail(150);
    ASSERT_EQ(picture_of.size, reference.size) << name;
    EXPECT_LT(mean_difference(picture_of.rgb, reference.rgb), 3) << name;
  }
  EXPECT_EQ(SlideReader::open(folder / "a.png")->thumbnail(5000).rgb, picture.rgb);
}

TEST(SlideReader, RealSlides) {
  SKIP_WITHOUT_DATA();
  const auto cmu = SlideReader::open(data_folder() / "slides/CMU-1-Small-Region.svs");
  EXPECT_DOUBLE_EQ(cmu->info().mpp->x, 0.499);
  EXPECT_EQ(cmu->info().objective_power, 20);
  const auto tcga = SlideReader::open(data_folder() / "slides/tcga-cr-7395-01a-01-ts1.svs");
  EXPECT_FALSE(tcga->info().mpp);
  EXPECT_EQ(tcga->info().levels.at(1).downsample, 2);
  const auto her2st = SlideReader::open(data_folder() / "slides/her2st_C2_pyramid.tiff");
  EXPECT_NEAR(her2st->info().mpp->x, 0.686, 1e-3);
  EXPECT_EQ(her2st->info().levels.size(), 7u);
  EXPECT_EQ(her2st->info().levels.back().downsample, 64);
}

TEST(SlideReader, PicturesBesidesTheSlide) {
  SKIP_WITHOUT_DATA();
  const auto cmu = SlideReader::open(data_folder() / "slides/CMU-1-Small-Region.svs");
  EXPECT_THAT(cmu->info().associated, ::testing::UnorderedElementsAre("label", "macro", "thumbnail"));
  const auto macro = cmu->associated_image("macro");
  EXPECT_EQ(macro.size, (Size<LevelPx>{1280, 431}));
  EXPECT_EQ(macro.rgb.size(), 1280u * 431 * 3);
  const auto small = cmu->associated_image("thumbnail");
  const auto made = cmu->thumbnail(static_cast<int>(std::max(small.size.width, small.size.height)));
  ASSERT_EQ(small.size, made.size);
  EXPECT_LT(mean_difference(small.rgb, made.rgb), 8);
  EXPECT_THROW(cmu->associated_image("patient"), std::invalid_argument);
  const auto her2st = SlideReader::open(data_folder() / "slides/her2st_C2_pyramid.tiff");
  EXPECT_TRUE(her2st->info().associated.empty());
  EXPECT_THROW(her2st->associated_image("label"), std::invalid_argument);
}

TEST(SlideReader, CarriesTheColourProfile) {
  const TempFolder folder;
  RgbImage picture = noise_picture({300, 200});
  ensure_image_libraries();
  vips::VImage::new_from_memory(picture.rgb.data(), picture.rgb.size(), 300, 200, 3, VIPS_FORMAT_UCHAR)
      .pngsave((folder / "a.png").c_str(), vips::VImage::option()->set("profile", "srgb"));
  const auto srgb = read_icc_profile("srgb");
  const auto slide = SlideReader::open(folder / "a.png");
  EXPECT_EQ(slide->info().icc_profile, srgb);
  EXPECT_EQ(read(*slide, 0, {{0, 0}, {300, 200}}), picture.rgb) << "pixels are not converted";
  PyramidOptions options;
  options.mpp = 0.5;
  EXPECT_TRUE((write_slide(folder / "a.tiff", picture, options), SlideReader::open(folder / "a.tiff"))
                  ->info()
                  .icc_profile.empty());
  options.icc_profile = srgb;
  write_slide(folder / "a.tiff", picture, options);
  EXPECT_EQ(SlideReader::open(folder / "a.tiff")->info().icc_profile, srgb);
  std::ofstream(folder / "no.icc") << std::string(400, 'x');
  EXPECT_THROW(read_icc_profile((folder / "no.icc").string()), Error);
  EXPECT_THROW(read_icc_profile((folder / "missing.icc").string()), Error);
  if (data_folder().empty()) return;
  EXPECT_GT(SlideReader::open(data_folder() / "slides/tcga-cr-7395-01a-01-ts1.svs")->info().icc_profile.size(), 1000u);
}

TEST(SlideReader, APixelDoesNotDependOnTheBox) {
  SKIP_WITHOUT_DATA();
  const auto slide = SlideReader::open(data_folder() / "slides/tcga-cr-7395-01a-01-ts1.svs");
  const RgbImage large{{600, 500}, read(*slide, 1, {{1000, 900}, {600, 500}})};
  for (const Box<TargetPx> box : {Box<TargetPx>{{0, 0}, {64, 64}}, Box<TargetPx>{{101, 203}, {256, 256}}}) {
    EXPECT_EQ(read(*slide, 1, {{1000 + box.origin.x, 900 + box.origin.y}, {box.size.width, box.size.height}}),
              cut(large, box).rgb);
  }
}

TEST(SlideReader, FixturesThatCannotBeRead) {
  SKIP_WITHOUT_DATA();
  expect_refused(data_folder() / "fixtures/unopenable.tiff", "Unsupported TIFF compression: 52479");
  const auto slide = SlideReader::open(data_folder() / "fixtures/unreadable.svs");
  EXPECT_THROW(read(*slide, 0, {{0, 0}, {16, 16}}), Error);
  EXPECT_NO_THROW(read(*SlideReader::open(data_folder() / "fixtures/small.svs"), 0, {{0, 0}, {16, 16}}));
}

}  // namespace
}  // namespace vtissue::io
