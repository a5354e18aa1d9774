#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "io/slide_reader.h"
#include "stage_fixture.h"
#include "stages/tile/morphology.h"
#include "stages/tile/tissue_mask.h"

namespace vtissue::stages {
namespace {

constexpr double kMpp = 8;

/// Cheap repeatable noise, 0..255.
int noise(std::int64_t x, std::int64_t y) {
  auto h = static_cast<std::uint32_t>(x * 374761393 + y * 668265263);
  h = (h ^ (h >> 13)) * 1274126177u;
  return static_cast<int>((h ^ (h >> 16)) & 0xff);
}

/// Tissue as it looks at 8 µm/px: purple with nuclei.
void draw_tissue(Canvas& canvas, std::int64_t left, std::int64_t top, std::int64_t width, std::int64_t height,
                 int strength = 1) {
  for (std::int64_t y = top; y < top + height; ++y) {
    for (std::int64_t x = left; x < left + width; ++x) {
      const int grain = noise(x, y) / (4 * strength);
      const int base = 200 - 40 / strength;
      std::uint8_t* p = canvas.at(x, y);
      p[0] = static_cast<std::uint8_t>(base - grain);
      p[1] = static_cast<std::uint8_t>(base - 40 / strength - grain);
      p[2] = static_cast<std::uint8_t>(base + 10 - grain / 2);
    }
  }
}

TissueMask mask_of(const Canvas& canvas, const TissueAreas& areas = {}) {
  return find_tissue(canvas.rgb, {canvas.width, canvas.height}, kMpp, areas);
}

/// Share of a box that is tissue.
double share(const TissueMask& mask, std::int64_t left, std::int64_t top, std::int64_t width, std::int64_t height) {
  std::int64_t set = 0;
  for (std::int64_t y = top; y < top + height; ++y) {
    for (std::int64_t x = left; x < left + width; ++x)
      set += mask.mask[static_cast<std::size_t>(y * mask.size.width + x)];
  }
  return static_cast<double>(set) / static_cast<double>(width * height);
}

TEST(TissueMask, FindsTissueOnGlassOfAnyColour) {
  const std::initializer_list<std::uint8_t> colours[] = {
      {255, 255, 255}, {245, 243, 243}, {230, 205, 225} /* pink */, {205, 200, 190} /* dim, yellow */};
  for (const auto& glass : colours) {
    Canvas canvas(200, 160, glass);
    draw_tissue(canvas, 60, 40, 80, 70);
    const TissueMask mask = mask_of(canvas);
    EXPECT_TRUE(mask.background_found);
    EXPECT_NEAR(mask.background_rgb[1], *(glass.begin() + 1), 2);
    EXPECT_NEAR(mask.tissue_fraction(), 80.0 * 70 / (200 * 160), 0.01);
    EXPECT_GT(share(mask, 62, 42, 76, 66), 0.999);
  }
}

TEST(TissueMask, TakesPaleTextureButNotSmoothStain) {
  Canvas canvas(240, 160, {230, 215, 230});
  // Eosin that leaked from the tissue: strong but smooth.
  for (std::int64_t y = 0; y < 160; ++y) {
    for (std::int64_t x = 0; x < 240; ++x) {
      const double halo = std::exp(-std::hypot(static_cast<double>(x - 180), static_cast<double>(y - 80)) / 60.0);
      canvas.at(x, y)[1] = static_cast<std::uint8_t>(215 - 35 * halo);
    }
  }
  draw_tissue(canvas, 20, 40, 90, 80, 3);
  const TissueMask mask = mask_of(canvas);
  EXPECT_GT(share(mask, 22, 42, 86, 76), 0.99);
  EXPECT_EQ(share(mask, 130, 0, 110, 160), 0);
}

TEST(TissueMask, LeavesOutBlackBordersAndUnscannedWhite) {
  Canvas canvas(240, 160, {238, 234, 238});
  draw_tissue(canvas, 80, 40, 80, 80);
  for (std::int64_t y = 0; y < 160; ++y) {
    for (std::int64_t x = 0; x < 30; ++x) std::fill_n(canvas.at(x, y), 3, std::uint8_t{3});
    for (std::int64_t x = 200; x < 240; ++x) std::fill_n(canvas.at(x, y), 3, std::uint8_t{255});
  }
  const TissueMask mask = mask_of(canvas);
  EXPECT_NEAR(mask.black_fraction, 31.0 / 240, 1e-9);
  EXPECT_EQ(share(mask, 0, 0, 70, 160), 0);
  EXPECT_EQ(share(mask, 170, 0, 70, 160), 0);
  EXPECT_GT(share(mask, 82, 42, 76, 76), 0.999);
  EXPECT_NEAR(mask.background_rgb[0], 238, 1);  // the glass, not the white beside it
}

TEST(TissueMask, BlackInsideTheTissueIsTissue) {
  Canvas canvas(160, 160, {240, 240, 240});
  draw_tissue(canvas, 40, 40, 80, 80);
  for (std::int64_t y = 70; y < 90; ++y) {
    for (std::int64_t x = 70; x < 90; ++x) std::fill_n(canvas.at(x, y), 3, std::uint8_t{15});  // pigment
  }
  const TissueMask mask = mask_of(canvas);
  EXPECT_EQ(mask.black_fraction, 0);
  EXPECT_EQ(share(mask, 70, 70, 20, 20), 1);
}

TEST(TissueMask, LeavesOutDustAndFillsSmallHolesAsAsked) {
  Canvas canvas(240, 200, {240, 238, 240});
  draw_tissue(canvas, 20, 20, 120, 120);
  draw_tissue(canvas, 200, 160, 12, 12);  // 0.009 mm²
  for (std::int64_t y = 60; y < 84; ++y) {
    for (std::int64_t x = 60; x < 84; ++x) {  // 0.037 mm²
      std::uint8_t* p = canvas.at(x, y);
      p[0] = 240, p[1] = 238, p[2] = 240;
    }
  }
  const TissueMask usual = mask_of(canvas);
  EXPECT_EQ(share(usual, 190, 150, 40, 40), 0);
  EXPECT_EQ(share(usual, 60, 60, 24, 24), 1);
  const TissueMask everything = mask_of(canvas, {.min_area_um2 = 0, .min_hole_um2 = 0});
  EXPECT_GT(share(everything, 201, 161, 10, 10), 0.9);
  EXPECT_LT(share(everything, 60, 60, 24, 24), 0.5);
}

TEST(TissueMask, LeavesOutDirtOutOfFocus) {
  Canvas canvas(240, 160, {236, 230, 236});
  draw_tissue(canvas, 20, 20, 80, 120);
  for (std::int64_t y = 0; y < 160; ++y) {
    for (std::int64_t x = 130; x < 240; ++x) {
      const double d2 = std::pow(static_cast<double>(x - 190), 2) + std::pow(static_cast<double>(y - 80), 2);
      for (int c = 0; c < 3; ++c) {
        std::uint8_t& value = canvas.at(x, y)[c];
        value = static_cast<std::uint8_t>(value - 70 * std::exp(-d2 / 250));
      }
    }
  }
  const TissueMask mask = mask_of(canvas);
  EXPECT_EQ(share(mask, 130, 0, 110, 160), 0);
  EXPECT_GT(share(mask, 22, 22, 76, 116), 0.999);
}

TEST(TissueMask, EmptyGlassHasNone) {
  Canvas canvas(100, 80, {244, 243, 242});
  for (std::int64_t i = 0; i < 100 * 80; ++i)
    canvas.rgb[static_cast<std::size_t>(3 * i)] -= static_cast<std::uint8_t>(noise(i, 3) / 128);
  EXPECT_EQ(mask_of(canvas).tissue_fraction(), 0);
  EXPECT_EQ(mask_of(Canvas(50, 50, {255, 255, 255})).tissue_fraction(), 0);
  EXPECT_EQ(mask_of(Canvas(50, 50, {0, 0, 0})).tissue_fraction(), 0);
}

TEST(TissueMask, WithoutGlassEverythingIsTissue) {
  Canvas canvas(100, 80, {255, 255, 255});
  draw_tissue(canvas, 0, 0, 100, 80);
  const TissueMask mask = mask_of(canvas);
  EXPECT_FALSE(mask.background_found);
  EXPECT_EQ(mask.tissue_fraction(), 1);
}

TEST(TissueMask, RefusesAPictureOfAnotherSize) {
  const std::vector<std::uint8_t> rgb(30);
  EXPECT_THROW(find_tissue(rgb, {4, 4}, 8), std::invalid_argument);
  EXPECT_THROW(find_tissue(rgb, {5, 2}, 0), std::invalid_argument);
}

/// Shares that a look at the overlays found right; a saturation threshold finds a third (C5) or a fifth (B4)
/// of the tissue, or all of the slide.
struct RealSlide {
  const char* file;
  double mpp, least, most;
};

class TissueMaskReal : public testing::TestWithParam<RealSlide> {};

TEST_P(TissueMaskReal, FindsTheTissueThatAnEyeFinds) {
  const char* root = std::getenv("VTISSUE_DATA");
  const std::filesystem::path path = std::filesystem::path(root ? root : "") / GetParam().file;
  if (root == nullptr || !std::filesystem::exists(path)) GTEST_SKIP() << "needs VTISSUE_DATA with " << GetParam().file;
  const auto slide = io::SlideReader::open(path, {.mpp = GetParam().mpp});
  const auto size = slide->info().levels.front().size;
  const auto longest = static_cast<double>(std::max(size.width, size.height));
  const auto picture = slide->thumbnail(static_cast<int>(longest * GetParam().mpp / kMpp));
  const TissueMask mask = find_tissue(picture.rgb, picture.size, picture.downsample * GetParam().mpp);
  EXPECT_TRUE(mask.background_found);
  EXPECT_GT(mask.tissue_fraction(), GetParam().least);
  EXPECT_LT(mask.tissue_fraction(), GetParam().most);
}

INSTANTIATE_TEST_SUITE_P(Slides, TissueMaskReal,
                         testing::Values(RealSlide{"her2st/B4.jpg", 0.686, 0.255, 0.29},
                                         RealSlide{"her2st/C5.jpg", 0.686, 0.16, 0.18},
                                         RealSlide{"her2st/C3.jpg", 0.686, 0.165, 0.185},
                                         RealSlide{"slides/CMU-1-Small-Region.svs", 0.499, 0.38, 0.46},
                                         RealSlide{"slides/tcga-cr-7395-01a-01-ts1.svs", 0.5, 0.61, 0.69}));

TEST(Morphology, ClosingAndOpeningKeepARectangle) {
  BinaryImage image{{20, 12}, std::vector<std::uint8_t>(240, 0)};
  for (int y = 3; y < 9; ++y) std::fill_n(&image.pixels[static_cast<std::size_t>(y * 20 + 4)], 10, std::uint8_t{1});
  EXPECT_EQ(erode(dilate(image, 2), 2).pixels, image.pixels);
  EXPECT_EQ(dilate(erode(image, 2), 2).pixels, image.pixels);
  const auto area = [](const BinaryImage& of) { return std::count(of.pixels.begin(), of.pixels.end(), 1); };
  EXPECT_EQ(area(dilate(image, 1)), 12 * 8);
  EXPECT_EQ(area(erode(image, 1)), 8 * 4);
  EXPECT_EQ(dilate(image, 0).pixels, image.pixels);
}

TEST(Morphology, LocalStatisticsEqualTheirDefinition) {
  const Size<LevelPx> size{7, 5};
  std::vector<float> values;
  std::vector<std::uint8_t> weights;
  for (int i = 0; i < 35; ++i) {
    values.push_back(static_cast<float>(noise(i, 1)) / 255);
    weights.push_back(noise(i, 2) > 80);
  }
  const LocalStatistics result = local_statistics(values, weights, size, 1);
  for (std::int64_t y = 0; y < 5; ++y) {
    for (std::int64_t x = 0; x < 7; ++x) {
      double sum = 0, square = 0;
      int count = 0;
      for (auto v = std::max<std::int64_t>(0, y - 1); v <= std::min<std::int64_t>(4, y + 1); ++v) {
        for (auto u = std::max<std::int64_t>(0, x - 1); u <= std::min<std::int64_t>(6, x + 1); ++u) {
          const auto i = static_cast<std::size_t>(v * 7 + u);
          if (!weights[i]) continue;
          const double value = values[i];
          sum += value, square += value * value, ++count;
        }
      }
      const auto i = static_cast<std::size_t>(y * 7 + x);
      if (count == 0) {
        EXPECT_EQ(result.mean[i], 0);
        continue;
      }
      EXPECT_NEAR(result.mean[i], sum / count, 1e-6);
      EXPECT_NEAR(result.deviation[i], std::sqrt(std::max(0.0, square / count - sum * sum / count / count)), 1e-6);
    }
  }
}

}  // namespace
}  // namespace vtissue::stages
