#include "stages/tile/artifacts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "io/slide_reader.h"
#include "stage_fixture.h"
#include "stages/tile/tissue_mask.h"

namespace vtissue::stages {
namespace {

constexpr double kMpp = 8;

int grain_at(std::int64_t x, std::int64_t y) {
  auto h = static_cast<std::uint32_t>(x * 374761393 + y * 668265263);
  h = (h ^ (h >> 13)) * 1274126177u;
  return static_cast<int>((h ^ (h >> 16)) & 0xff);
}

/// 3.2 x 2.4 mm of pinkish glass with tissue at (60, 40) of 280 x 200 px: eosin with blue nuclei, as densities.
Canvas slide_with_tissue() {
  Canvas canvas(400, 300, {240, 232, 238});
  for (std::int64_t y = 40; y < 240; ++y) {
    for (std::int64_t x = 60; x < 340; ++x) {
      const double nuclei = (grain_at(x, y) + grain_at(x / 3 + 999, y / 3)) / 510.0,
                   eosin = 0.5 + grain_at(x / 7, y / 5) / 510.0;
      const double density[3] = {0.04 * eosin + 0.42 * nuclei, 0.32 * eosin + 0.42 * nuclei,
                                 0.14 * eosin + 0.2 * nuclei};
      for (int c = 0; c < 3; ++c)
        canvas.at(x, y)[c] = static_cast<std::uint8_t>(canvas.at(x, y)[c] * std::pow(10, -density[c]));
    }
  }
  return canvas;
}

/// A stroke of marker, 25 px (0.2 mm) wide, over what is there; ink lets some of it through.
void draw_stroke(Canvas& canvas, double x0, double y0, double x1, double y1,
                 const std::array<double, 3>& transmission) {
  const double length = std::hypot(x1 - x0, y1 - y0);
  for (std::int64_t y = 0; y < canvas.height; ++y) {
    for (std::int64_t x = 0; x < canvas.width; ++x) {
      const auto px = static_cast<double>(x), py = static_cast<double>(y);
      const double t = std::clamp(((px - x0) * (x1 - x0) + (py - y0) * (y1 - y0)) / (length * length), 0.0, 1.0);
      const double distance = std::hypot(px - x0 - t * (x1 - x0), py - y0 - t * (y1 - y0));
      const double ink = 1 / (1 + std::exp(distance - 12.5));
      for (int c = 0; c < 3; ++c)
        canvas.at(x, y)[c] =
            static_cast<std::uint8_t>(canvas.at(x, y)[c] * std::pow(transmission[static_cast<std::size_t>(c)], ink));
    }
  }
}

void blur_box(Canvas& canvas, std::int64_t left, std::int64_t top, std::int64_t right, std::int64_t bottom,
              double sigma) {
  const Canvas sharp = canvas;
  const auto reach = static_cast<std::int64_t>(std::ceil(3 * sigma));
  for (std::int64_t y = top; y < bottom; ++y) {
    for (std::int64_t x = left; x < right; ++x) {
      double sum[3] = {}, total = 0;
      for (std::int64_t v = y - reach; v <= y + reach; ++v) {
        for (std::int64_t u = x - reach; u <= x + reach; ++u) {
          const double weight =
              std::exp(-static_cast<double>((u - x) * (u - x) + (v - y) * (v - y)) / (2 * sigma * sigma));
          const std::uint8_t* p = &sharp.rgb[static_cast<std::size_t>((v * sharp.width + u) * 3)];
          for (int c = 0; c < 3; ++c) sum[c] += weight * p[c];
          total += weight;
        }
      }
      for (int c = 0; c < 3; ++c) canvas.at(x, y)[c] = static_cast<std::uint8_t>(sum[c] / total);
    }
  }
}

struct Found {
  Artifacts artifacts;
  BinaryImage tissue;
};

Found look(const Canvas& canvas, double mpp = kMpp) {
  const RgbView view{canvas.rgb, {canvas.width, canvas.height}};
  const Glass glass = find_glass(view, mpp);
  BinaryImage tissue{view.size, find_tissue(view, glass, mpp).mask};
  return {find_artifacts(view, glass, mpp, tissue), tissue};
}

double share(const BinaryImage& mask, std::int64_t left, std::int64_t top, std::int64_t right, std::int64_t bottom) {
  std::int64_t set = 0;
  for (std::int64_t y = top; y < bottom; ++y) {
    for (std::int64_t x = left; x < right; ++x) set += mask.pixels[static_cast<std::size_t>(y * mask.size.width + x)];
  }
  return static_cast<double>(set) / static_cast<double>((right - left) * (bottom - top));
}

std::int64_t set_pixels(const BinaryImage& mask) { return std::count(mask.pixels.begin(), mask.pixels.end(), 1); }

TEST(Artifacts, CleanTissueHasNone) {
  const Found found = look(slide_with_tissue());
  EXPECT_GT(share(found.tissue, 65, 45, 335, 235), 0.99);
  for (const BinaryImage& mask : found.artifacts.masks) EXPECT_EQ(set_pixels(mask), 0);
}

struct InkCase {
  const char* name;
  Ink ink;
  std::array<double, 3> transmission;
};

class PenTest : public testing::TestWithParam<InkCase> {};

/// A stroke across glass and tissue is found on both, to its rim, and nothing else is.
TEST_P(PenTest, IsFoundOnGlassAndOnTissue) {
  Canvas canvas = slide_with_tissue();
  draw_stroke(canvas, 20, 120, 200, 180, GetParam().transmission);
  const Found found = look(canvas);
  const BinaryImage& pen = found.artifacts[Artifact::kPen];
  EXPECT_GT(share(pen, 20, 115, 45, 125), 0.99);    // on the glass
  EXPECT_GT(share(pen, 150, 160, 170, 172), 0.99);  // on the tissue
  EXPECT_EQ(share(pen, 230, 0, 400, 300), 0);
  EXPECT_EQ(share(pen, 0, 0, 400, 80), 0);
  EXPECT_EQ(share(pen, 0, 225, 400, 300), 0);
  for (std::size_t ink = 0; ink < kInkCount; ++ink) {
    EXPECT_EQ(found.artifacts.ink[ink] > 1000, ink == static_cast<std::size_t>(GetParam().ink)) << ink_names()[ink];
  }
}

INSTANTIATE_TEST_SUITE_P(Inks, PenTest,
                         testing::Values(InkCase{"blue", Ink::kBlue, {0.12, 0.35, 0.75}},
                                         InkCase{"navy", Ink::kBlue, {0.05, 0.10, 0.52}},
                                         InkCase{"green", Ink::kGreen, {0.10, 0.52, 0.28}},
                                         InkCase{"red", Ink::kRed, {0.93, 0.10, 0.13}},
                                         InkCase{"black", Ink::kBlack, {0.10, 0.10, 0.11}}),
                         [](const auto& test) { return test.param.name; });

/// Nuclei, a pool of blood, brown pigment and a fold are as dark but of another colour, or small.
TEST(Artifacts, TissueThatLooksLikeInkIsNone) {
  Canvas canvas = slide_with_tissue();
  const auto paint = [&](std::int64_t left, std::int64_t top, std::int64_t side, std::array<std::uint8_t, 3> rgb) {
    for (std::int64_t y = top; y < top + side; ++y) {
      for (std::int64_t x = left; x < left + side; ++x) std::copy(rgb.begin(), rgb.end(), canvas.at(x, y));
    }
  };
  paint(80, 60, 40, {178, 62, 78});   // blood
  paint(140, 60, 40, {95, 60, 30});   // melanin, haemosiderin
  paint(200, 60, 40, {92, 48, 110});  // fold of tissue
  paint(260, 60, 40, {70, 62, 130});  // crowded nuclei of a blue haematoxylin
  paint(100, 150, 6, {20, 20, 20});   // soot
  paint(120, 150, 6, {30, 60, 190});  // a speck of ink, 0.0023 mm²
  EXPECT_EQ(set_pixels(look(canvas).artifacts[Artifact::kPen]), 0);
}

TEST(Artifacts, BordersAndPadding) {
  Canvas canvas = slide_with_tissue();
  for (std::int64_t y = 0; y < 300; ++y) {
    for (std::int64_t x = 0; x < 20; ++x) std::fill_n(canvas.at(x, y), 3, std::uint8_t{12});  // reaches the edge
    for (std::int64_t x = 370; x < 390; ++x) {
      if (y >= 100 && y < 200) std::fill_n(canvas.at(x, y), 3, std::uint8_t{0});  // padding within
    }
  }
  for (std::int64_t y = 100; y < 110; ++y) {
    for (std::int64_t x = 100; x < 110; ++x)
      std::fill_n(canvas.at(x, y), 3, std::uint8_t{0});  // 0.0064 mm²: no padding
  }
  const BinaryImage border = look(canvas).artifacts[Artifact::kBorder];
  EXPECT_EQ(share(border, 0, 0, 20, 300), 1);
  EXPECT_EQ(share(border, 370, 100, 390, 200), 1);
  EXPECT_EQ(set_pixels(border), 21 * 300 + 22 * 102);  // each with its rim of a pixel
}

/// Half of the tissue out of focus.
TEST(Artifacts, PartsOutOfFocus) {
  for (const double sigma : {1.0, 2.0, 3.0}) {  // 8, 16, 24 µm
    Canvas canvas = slide_with_tissue();
    blur_box(canvas, 65, 45, 205, 235, sigma);
    const BinaryImage blur = look(canvas).artifacts[Artifact::kBlur];
    EXPECT_GT(share(blur, 85, 65, 185, 215), 0.97) << sigma;
    EXPECT_EQ(share(blur, 220, 45, 340, 235), 0) << sigma;
    // The same picture at 4 µm/px.
    Canvas twice(800, 600, {0, 0, 0});
    for (std::int64_t y = 0; y < 600; ++y) {
      for (std::int64_t x = 0; x < 800; ++x) std::copy_n(canvas.at(x / 2, y / 2), 3, twice.at(x, y));
    }
    EXPECT_GT(share(look(twice, kMpp / 2).artifacts[Artifact::kBlur], 170, 130, 370, 430), 0.97) << sigma;
  }
  Canvas canvas = slide_with_tissue();
  blur_box(canvas, 65, 45, 205, 235, 0.5);  // 4 µm: tiles of that focus are still usable
  EXPECT_EQ(set_pixels(look(canvas).artifacts[Artifact::kBlur]), 0);
}

/// On real sections without marks or blur hardly anything may be found.
class RealArtifacts : public testing::TestWithParam<std::pair<const char*, double>> {};

TEST_P(RealArtifacts, AreNotSeenWhereThereAreNone) {
  const char* root = std::getenv("VTISSUE_DATA");
  const auto [name, mpp] = GetParam();
  const std::filesystem::path path = std::filesystem::path(root ? root : "") / name;
  if (root == nullptr || !std::filesystem::exists(path)) GTEST_SKIP() << "needs VTISSUE_DATA with " << name;
  const auto slide = io::SlideReader::open(path, {.mpp = mpp});
  const auto size = slide->info().levels.front().size;
  const auto picture =
      slide->thumbnail(static_cast<int>(static_cast<double>(std::max(size.width, size.height)) * mpp / kMpp));
  const RgbView view{picture.rgb, picture.size};
  const Glass glass = find_glass(view, picture.downsample * mpp);
  const BinaryImage tissue{view.size, find_tissue(view, glass, picture.downsample * mpp).mask};
  const Artifacts found = find_artifacts(view, glass, picture.downsample * mpp, tissue);
  const auto of_tissue = [&](Artifact artifact) {
    std::int64_t both = 0;
    for (std::size_t i = 0; i < tissue.pixels.size(); ++i) both += tissue.pixels[i] & found[artifact].pixels[i];
    return static_cast<double>(both) / static_cast<double>(set_pixels(tissue));
  };
  EXPECT_EQ(set_pixels(found[Artifact::kPen]), 0);
  EXPECT_LT(of_tissue(Artifact::kBorder), 0.001);
  EXPECT_LT(of_tissue(Artifact::kBlur), 0.01);
  RecordProperty("blur", std::to_string(of_tissue(Artifact::kBlur)));
}

INSTANTIATE_TEST_SUITE_P(Slides, RealArtifacts,
                         testing::Values(std::pair{"slides/CMU-1-Small-Region.svs", 0.499},
                                         std::pair{"slides/tcga-cr-7395-01a-01-ts1.svs", 0.5},
                                         std::pair{"her2st/B4.jpg", 0.686}, std::pair{"her2st/C2.jpg", 0.686},
                                         std::pair{"her2st/C3.jpg", 0.686}, std::pair{"her2st/C4.jpg", 0.686},
                                         std::pair{"her2st/C5.jpg", 0.686}),
                         [](const auto& test) { return "Slide" + std::to_string(test.index); });

}  // namespace
}  // namespace vtissue::stages
