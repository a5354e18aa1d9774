// Slides whose pixels are not square.

#include "io/square_pixels.h"

#include <gmock/gmock.h>
#include <tiffio.h>

#include <cmath>
#include <random>

#include "core/error.h"
#include "io/slide_reader.h"
#include "io/tile_reader.h"
#include "tests/support/synthetic_slide.h"
#include "tests/support/temp_folder.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::TempFolder;

/// A TIFF of one strip with a resolution of its own in each axis.
void write_tiff(const fs::path& path, const RgbImage& picture, double mpp_x, double mpp_y) {
  TIFF* const tiff = TIFFOpen(path.c_str(), "w");
  ASSERT_NE(tiff, nullptr);
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(picture.size.width));
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, static_cast<std::uint32_t>(picture.size.height));
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 3);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, static_cast<std::uint32_t>(picture.size.height));
  TIFFSetField(tiff, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER);
  TIFFSetField(tiff, TIFFTAG_XRESOLUTION, 1e4 / mpp_x);
  TIFFSetField(tiff, TIFFTAG_YRESOLUTION, 1e4 / mpp_y);
  for (std::int64_t y = 0; y < picture.size.height; ++y) {
    auto* const row = const_cast<std::uint8_t*>(&picture.rgb[static_cast<std::size_t>(y * picture.size.width * 3)]);
    ASSERT_EQ(TIFFWriteScanline(tiff, row, static_cast<std::uint32_t>(y)), 1);
  }
  TIFFClose(tiff);
}

std::vector<std::uint8_t> read(const SlideReader& slide, Point<Level0Px> origin, Size<LevelPx> size) {
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(size.area()) * 3);
  slide.read(0, origin, size, rgb);
  return rgb;
}

TEST(SquarePixels, TallPixelsAreRepeated) {
  const TempFolder folder;
  const RgbImage picture = testing::noise_picture({40, 30});
  write_tiff(folder / "a.tif", picture, 0.5, 1.0);
  const auto slide = SlideReader::open(folder / "a.tif");
  EXPECT_EQ(slide->info().levels[0].size, (Size<LevelPx>{40, 60}));
  EXPECT_NEAR(slide->info().pixel_aspect, 2, 1e-6);
  EXPECT_NEAR(slide->info().mpp->x, 0.5, 1e-6);
  EXPECT_EQ(slide->info().mpp->y, slide->info().mpp->x);
  const std::vector<std::uint8_t> seen = read(*slide, {0, 0}, {40, 60});
  for (std::int64_t y = 0; y < 60; ++y) {
    for (std::int64_t k = 0; k < 120; ++k) {
      ASSERT_NEAR(seen[static_cast<std::size_t>(y * 120 + k)], picture.rgb[static_cast<std::size_t>(y / 2 * 120 + k)],
                  1)
          << y << " " << k;
    }
  }
}

TEST(SquarePixels, FlatPixelsAreAveraged) {
  const TempFolder folder;
  const RgbImage picture = testing::noise_picture({40, 30});
  write_tiff(folder / "a.tif", picture, 1.0, 0.5);
  const auto slide = SlideReader::open(folder / "a.tif");
  EXPECT_EQ(slide->info().levels[0].size, (Size<LevelPx>{40, 15}));
  const std::vector<std::uint8_t> seen = read(*slide, {0, 0}, {40, 15});
  for (std::int64_t y = 0; y < 15; ++y) {
    for (std::int64_t k = 0; k < 120; ++k) {
      const int mean = (picture.rgb[static_cast<std::size_t>(2 * y * 120 + k)] +
                        picture.rgb[static_cast<std::size_t>((2 * y + 1) * 120 + k)] + 1) /
                       2;
      ASSERT_NEAR(seen[static_cast<std::size_t>(y * 120 + k)], mean, 1);
    }
  }
}

TEST(SquarePixels, PixelsDoNotDependOnTheirBoxAndOutsideIsWhite) {
  const TempFolder folder;
  write_tiff(folder / "a.tif", testing::noise_picture({90, 70}), 0.5, 0.61);
  const auto slide = SlideReader::open(folder / "a.tif");
  const auto [width, height] = slide->info().levels[0].size;
  EXPECT_EQ(height, static_cast<std::int64_t>(70 * 1.22));
  const std::vector<std::uint8_t> whole = read(*slide, {0, 0}, {width, height});
  std::mt19937 random(3);
  for (int i = 0; i < 50; ++i) {
    const auto x = static_cast<std::int64_t>(random() % 110) - 10, y = static_cast<std::int64_t>(random() % 110) - 10;
    const Size<LevelPx> size{1 + static_cast<std::int64_t>(random() % 40),
                             1 + static_cast<std::int64_t>(random() % 40)};
    const std::vector<std::uint8_t> part = read(*slide, {x, y}, size);
    for (std::int64_t row = 0; row < size.height; ++row) {
      for (std::int64_t column = 0; column < size.width; ++column) {
        const bool inside = x + column >= 0 && x + column < width && y + row >= 0 && y + row < height;
        const std::uint8_t expected =
            inside ? whole[static_cast<std::size_t>(((y + row) * width + x + column) * 3)] : 255;
        ASSERT_EQ(part[static_cast<std::size_t>((row * size.width + column) * 3)], expected);
      }
    }
  }
}

TEST(SquarePixels, AConstantStaysConstant) {
  const TempFolder folder;
  write_tiff(folder / "a.tif", testing::constant_picture({64, 48}, 200, 30, 90), 0.5, 0.7);
  const TileReader tiles(SlideReader::open(folder / "a.tif"), 0.9);
  EXPECT_EQ(tiles.size().height, static_cast<std::int64_t>(std::floor(48 * 1.4) * 0.5 / 0.9 + 1e-9));
  const std::vector<std::uint8_t> rgb = tiles.read({{0, 0}, {tiles.size().width, tiles.size().height}});
  for (std::size_t i = 0; i < rgb.size(); i += 3) {
    ASSERT_EQ(rgb[i], 200);
    ASSERT_EQ(rgb[i + 1], 30);
    ASSERT_EQ(rgb[i + 2], 90);
  }
}

TEST(SquarePixels, ACircleOfTissueIsACircle) {
  // Drawn on pixels of 0.5 x 0.8 µm with a radius of 60 µm.
  RgbImage picture = testing::constant_picture({300, 190}, 255, 255, 255);
  for (std::int64_t y = 0; y < 190; ++y) {
    for (std::int64_t x = 0; x < 300; ++x) {
      const double across = (static_cast<double>(x) + 0.5 - 150) * 0.5,
                   down = (static_cast<double>(y) + 0.5 - 95) * 0.8;
      if (across * across + down * down > 60 * 60) continue;
      for (std::size_t c = 0; c < 3; ++c) picture.rgb[static_cast<std::size_t>((y * 300 + x) * 3) + c] = 0;
    }
  }
  const TempFolder folder;
  write_tiff(folder / "a.tif", picture, 0.5, 0.8);
  const auto slide = SlideReader::open(folder / "a.tif");
  const auto [width, height] = slide->info().levels[0].size;
  const std::vector<std::uint8_t> seen = read(*slide, {0, 0}, {width, height});
  const auto dark = [&](std::int64_t x, std::int64_t y) {
    return seen[static_cast<std::size_t>((y * width + x) * 3)] < 128;
  };
  std::int64_t wide = 0, high = 0;
  for (std::int64_t x = 0; x < width; ++x) wide += dark(x, height / 2);
  for (std::int64_t y = 0; y < height; ++y) high += dark(width / 2, y);
  EXPECT_NEAR(static_cast<double>(wide), 240, 3);
  EXPECT_NEAR(static_cast<double>(high), 240, 3);
  const SlideReader::Picture small = slide->thumbnail(100);
  EXPECT_NEAR(static_cast<double>(small.size.height) / static_cast<double>(small.size.width), 304.0 / 300, 0.02);
}

TEST(SquarePixels, SquareOnesAndAnOverrideAreLeftAlone) {
  const TempFolder folder;
  const RgbImage picture = testing::noise_picture({40, 30});
  write_tiff(folder / "a.tif", picture, 0.5, 0.5049);
  EXPECT_EQ(read(*SlideReader::open(folder / "a.tif"), {0, 0}, {40, 30}), picture.rgb);
  write_tiff(folder / "b.tif", picture, 0.5, 0.9);
  const auto slide = SlideReader::open(folder / "b.tif", {.mpp = 0.6});
  EXPECT_EQ(slide->info().pixel_aspect, 1);
  EXPECT_EQ(read(*slide, {0, 0}, {40, 30}), picture.rgb);
  // As the stages after tile open it: the µm/px of its columns, and the aspect that tile found.
  const auto again = SlideReader::open(folder / "b.tif", {.mpp = 0.5, .pixel_aspect = 1.8});
  EXPECT_EQ(again->info().levels[0].size, (Size<LevelPx>{40, 54}));
}

TEST(SquarePixels, WhatNoScannerMakesIsRefused) {
  const TempFolder folder;
  write_tiff(folder / "a.tif", testing::noise_picture({40, 30}), 0.25, 0.75);
  try {
    SlideReader::open(folder / "a.tif");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_THAT(e.what(), HasSubstr("are not believed"));
    EXPECT_THAT(e.what(), HasSubstr("--mpp"));
  }
}

}  // namespace
}  // namespace vtissue::io
