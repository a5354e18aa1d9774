#include "viewer/slide_tiles.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "io/jpeg_decoder.h"
#include "io/slide_reader.h"
#include "tests/support/synthetic_slide.h"
#include "tests/support/temp_folder.h"

namespace vtissue::viewer {
namespace {

using testing::TempFolder;

io::RgbImage decode(const std::string& jpeg, Size<TargetPx> size) {
  io::RgbImage image{size, std::vector<std::uint8_t>(static_cast<std::size_t>(size.area()) * 3)};
  io::JpegDecoder decoder;
  std::string message;
  EXPECT_EQ(decoder.decode({}, std::as_bytes(std::span(jpeg)), true, static_cast<int>(size.width),
                           static_cast<int>(size.height), image.rgb.data(), size.width * 3, message),
            io::TileState::kDecoded)
      << message;
  return image;
}

double mean_difference(const io::RgbImage& a, const io::RgbImage& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.rgb.size(); ++i) sum += std::abs(static_cast<int>(a.rgb[i]) - b.rgb[i]);
  return sum / static_cast<double>(a.rgb.size());
}

TEST(SlideTiles, LevelsHalveUntilOneTileHoldsTheSlide) {
  const TempFolder folder;
  io::PyramidOptions options;
  options.mpp = 0.5;
  testing::write_slide(folder / "a.tiff", testing::tissue_picture({1300, 700}, 0.5), options);
  SlideTiles tiles(folder / "a.tiff");
  EXPECT_EQ(tiles.tile_px(), 256);
  EXPECT_DOUBLE_EQ(tiles.mpp(), 0.5);
  const Size<LevelPx> last = tiles.level_size(tiles.levels() - 1);
  EXPECT_LE(std::max(last.width, last.height), 256);
  EXPECT_GT(std::max(tiles.level_size(tiles.levels() - 2).width, tiles.level_size(tiles.levels() - 2).height), 256);
  EXPECT_EQ(tiles.tile(-1, 0, 0), nullptr);
  EXPECT_EQ(tiles.tile(tiles.levels(), 0, 0), nullptr);
  EXPECT_EQ(tiles.tile(0, tiles.tiles_of(0).width, 0), nullptr);
  EXPECT_EQ(tiles.tile(0, 0, -1), nullptr);
}

/// Of tiles as stored and of those that had to be made, of all levels: what the reader sees there.
TEST(SlideTiles, EveryTileShowsTheSlideInItsPlace) {
  const TempFolder folder;
  const io::RgbImage picture = testing::tissue_picture({1300, 700}, 0.5);
  for (const bool is_jpeg : {true, false}) {
    io::PyramidOptions options;
    options.mpp = 0.5;
    options.codec = is_jpeg ? io::PyramidCodec::kJpeg : io::PyramidCodec::kDeflate;
    const std::string name = is_jpeg ? "jpeg.tiff" : "deflate.tiff";
    testing::write_slide(folder / name, picture, options);
    const auto reader = io::SlideReader::open(folder / name);
    SlideTiles tiles(folder / name);
    std::size_t stored = 0;
    for (int level = 0; level < tiles.levels(); ++level) {
      const Size<LevelPx> whole = tiles.level_size(level), count = tiles.tiles_of(level);
      const bool has_level = static_cast<std::size_t>(level) < reader->info().levels.size();
      for (std::int64_t y = 0; y < count.height; ++y) {
        for (std::int64_t x = 0; x < count.width; ++x) {
          const SlideTiles::Bytes bytes = tiles.tile(level, x, y);
          ASSERT_NE(bytes, nullptr);
          stored += tiles.is_stored(level, x, y) ? 1 : 0;
          const Size<TargetPx> size{std::min<std::int64_t>(256, whole.width - x * 256),
                                    std::min<std::int64_t>(256, whole.height - y * 256)};
          const io::RgbImage shown = decode(*bytes, size);
          if (!has_level) continue;
          io::RgbImage expected = shown;
          reader->read(level, {(x * 256) << level, (y * 256) << level}, {size.width, size.height}, expected.rgb);
          EXPECT_LT(mean_difference(shown, expected), tiles.is_stored(level, x, y) ? 0.01 : 4.0)
              << name << " level " << level << " tile " << x << ", " << y;
        }
      }
    }
    EXPECT_EQ(stored > 8, is_jpeg) << stored;
  }
}

TEST(SlideTiles, VersionChangesWithTheFile) {
  const TempFolder folder;
  io::PyramidOptions options;
  options.mpp = 0.5;
  const auto picture = testing::tissue_picture({600, 400}, 0.5);
  testing::write_slide(folder / "a.tiff", picture, options);
  const std::string before = file_version(folder / "a.tiff");
  EXPECT_EQ(SlideTiles(folder / "a.tiff").version(), before);
  std::filesystem::remove(folder / "a.tiff");
  EXPECT_EQ(file_version(folder / "a.tiff"), "");
  testing::write_slide(folder / "a.tiff", picture, options);
  EXPECT_NE(file_version(folder / "a.tiff"), before);
}

TEST(SlideTiles, ASlideWithoutMppAsksForIt) {
  const TempFolder folder;
  EXPECT_THROW(SlideTiles(folder / "none.tiff"), Error);
}

}  // namespace
}  // namespace vtissue::viewer
