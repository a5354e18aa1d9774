#include "io/dzi_export.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "tests/support/synthetic_slide.h"
#include "tests/support/temp_folder.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::TempFolder;

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

RgbImage tile_of(const fs::path& path) {
  const auto tile = SlideReader::open(path);
  const Size<LevelPx> size = tile->info().levels[0].size;
  RgbImage image{{size.width, size.height}, std::vector<std::uint8_t>(static_cast<std::size_t>(size.area()) * 3)};
  tile->read(0, {0, 0}, size, image.rgb);
  return image;
}

TEST(DziExport, LevelsAndTilesAreWhereViewersLookForThem) {
  const TempFolder folder;
  const RgbImage picture = testing::tissue_picture({1000, 601}, 0.7);
  testing::write_slide(folder / "a.tiff", picture, 0.7);
  const auto slide = SlideReader::open(folder / "a.tiff");
  const Size<LevelPx> whole = slide->info().levels[0].size;
  export_dzi(*slide, folder / "web.dzi", {.jpeg_quality = 95, .threads = 2});
  EXPECT_THAT(text_of(folder / "web.dzi"),
              HasSubstr("Overlap=\"1\" TileSize=\"254\"><Size Width=\"" + std::to_string(whole.width) + "\" Height=\"" +
                        std::to_string(whole.height) + "\"/>"));
  const int last = 10;  // 2^10 >= 1000
  for (int level = 0; level <= last; ++level) {
    const std::int64_t width = std::llround(std::ceil(static_cast<double>(whole.width) / (1 << (last - level))));
    const std::int64_t height = std::llround(std::ceil(static_cast<double>(whole.height) / (1 << (last - level))));
    const std::int64_t across = (width + 253) / 254, down = (height + 253) / 254;
    std::int64_t files = 0;
    for (const auto& entry : fs::directory_iterator(folder / "web_files" / std::to_string(level)))
      files += entry.is_regular_file() ? 1 : 0;
    EXPECT_EQ(files, across * down) << level;
    for (std::int64_t ty = 0; ty < down; ++ty) {
      for (std::int64_t tx = 0; tx < across; ++tx) {
        const RgbImage tile = tile_of(folder / "web_files" / std::to_string(level) /
                                      (std::to_string(tx) + "_" + std::to_string(ty) + ".jpg"));
        const std::int64_t left = std::max<std::int64_t>(0, tx * 254 - 1),
                           top = std::max<std::int64_t>(0, ty * 254 - 1);
        EXPECT_EQ(tile.size.width, std::min((tx + 1) * 254 + 1, width) - left) << level;
        EXPECT_EQ(tile.size.height, std::min((ty + 1) * 254 + 1, height) - top) << level;
        if (level != last) continue;
        const RgbImage expected = testing::cut(picture, {{left, top}, tile.size});
        double difference = 0;
        for (std::size_t i = 0; i < tile.rgb.size(); ++i) difference += std::abs(tile.rgb[i] - expected.rgb[i]);
        EXPECT_LT(difference / static_cast<double>(tile.rgb.size()), 3) << tx << ", " << ty;
      }
    }
  }
}

TEST(DziExport, SmallerLevelsAreMeans) {
  const TempFolder folder;
  RgbImage picture = testing::constant_picture({640, 512}, 60, 120, 180);
  testing::write_slide(folder / "a.tiff", picture, 0.7);
  export_dzi(*SlideReader::open(folder / "a.tiff"), folder / "b.dzi", {.tile_px = 256, .overlap_px = 0});
  for (const char* tile : {"0/0_0", "5/0_0", "9/1_0", "10/2_1"}) {
    const RgbImage image = tile_of(folder / "b_files" / (std::string(tile) + ".jpg"));
    for (std::size_t i = 0; i < image.rgb.size(); ++i) ASSERT_NEAR(image.rgb[i], picture.rgb[i % 3], 3) << tile;
  }
}

TEST(DziExport, WhatEndsEarlyLeavesNothing) {
  const TempFolder folder;
  testing::write_slide(folder / "a.tiff", testing::noise_picture({600, 600}), 0.7);
  const auto slide = SlideReader::open(folder / "a.tiff");
  EXPECT_THROW(export_dzi(*slide, folder / "b.dzi", {}, [] { return true; }), Error);
  EXPECT_THROW(export_dzi(*slide, folder / "b.tiff", {}), Error);
  EXPECT_THROW(export_dzi(*slide, folder / "b.dzi", {.overlap_px = 200}), Error);
  EXPECT_FALSE(fs::exists(folder / "b.dzi"));
  EXPECT_FALSE(fs::exists(folder / "b_files"));
  export_dzi(*slide, folder / "b.dzi", {});
  export_dzi(*slide, folder / "b.dzi", {.threads = 3});  // again, over the old one
  EXPECT_TRUE(fs::exists(folder / "b_files" / "10" / "2_2.jpg"));
}

}  // namespace
}  // namespace vtissue::io
