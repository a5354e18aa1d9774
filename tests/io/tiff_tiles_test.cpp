#include "io/tiff_tiles.h"

#include <gmock/gmock.h>
#include <openslide.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <random>
#include <thread>
#include <vips/vips8>

#include "core/error.h"
#include "io/slide_reader.h"
#include "io/tiff_tags.h"
#include "io/vips_runtime.h"
#include "tests/support/synthetic_slide.h"
#include "tests/support/temp_folder.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::TempFolder;

/// OpenSlide by itself, composed over white.
class Oracle {
 public:
  explicit Oracle(const fs::path& path) : slide_(openslide_open(path.c_str()), openslide_close) {}

  int levels() const { return openslide_get_level_count(slide_.get()); }
  Size<LevelPx> size(int level) const {
    Size<LevelPx> size;
    openslide_get_level_dimensions(slide_.get(), level, &size.width, &size.height);
    return size;
  }
  /// OpenSlide interpolates where level-0 coordinates cannot name a pixel; not at the origin.
  bool is_exact(int level) const {
    const double downsample = openslide_get_level_downsample(slide_.get(), level);
    return downsample == std::floor(downsample);
  }
  std::vector<std::uint8_t> read(int level, Box<LevelPx> box) const {
    const auto downsample = static_cast<std::int64_t>(openslide_get_level_downsample(slide_.get(), level));
    std::vector<std::uint32_t> argb(static_cast<std::size_t>(box.size.area()));
    openslide_read_region(slide_.get(), argb.data(), box.origin.x * downsample, box.origin.y * downsample, level,
                          box.size.width, box.size.height);
    EXPECT_EQ(openslide_get_error(slide_.get()), nullptr);
    std::vector<std::uint8_t> rgb;
    rgb.reserve(argb.size() * 3);
    for (const std::uint32_t pixel : argb) {
      for (const int shift : {16, 8, 0})
        rgb.push_back(static_cast<std::uint8_t>((pixel >> shift & 255) + 255 - (pixel >> 24)));
    }
    return rgb;
  }

 private:
  std::unique_ptr<openslide_t, void (*)(openslide_t*)> slide_;
};

int largest_difference(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  if (a.size() != b.size()) return 1000;
  int largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

std::vector<std::uint8_t> read_tiles(const TiffTiles& tiles, int level, Box<LevelPx> box) {
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(box.size.area()) * 3, 77);
  EXPECT_TRUE(tiles.read(static_cast<std::size_t>(level), box, rgb));
  return rgb;
}

/// Boxes anywhere, many of them over an edge or beyond; sizes around those of tiles.
std::vector<Box<LevelPx>> random_boxes(Size<LevelPx> level, int count, std::mt19937& random) {
  std::vector<Box<LevelPx>> boxes = {{{-40, -30}, {100, 90}},
                                     {{level.width - 37, level.height - 21}, {90, 80}},
                                     {{level.width + 5, 3}, {20, 20}},
                                     {{0, 0}, {1, 1}},
                                     {{-300, level.height - 1}, {301, 2}}};
  const auto between = [&](std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(high - low + 1));
  };
  for (int i = 0; i < count; ++i) {
    boxes.push_back(
        {{between(-200, level.width + 100), between(-200, level.height + 100)}, {between(1, 700), between(1, 700)}});
  }
  return boxes;
}

/// Every level of the slide is read without OpenSlide, and as OpenSlide has it.
void expect_as_openslide(const fs::path& path, int tolerance) {
  const Oracle oracle(path);
  const auto slide = SlideReader::open(path);
  const TiffTiles tiles(path, read_tiff_levels(path).chain);
  ASSERT_EQ(tiles.levels().size(), static_cast<std::size_t>(oracle.levels())) << path;
  ASSERT_EQ(slide->info().levels.size(), tiles.levels().size()) << path;
  std::mt19937 random(5);
  for (int level = 0; level < oracle.levels(); ++level) {
    const Size<LevelPx> size = oracle.size(level);
    ASSERT_EQ(tiles.levels()[static_cast<std::size_t>(level)].size, size);
    if (!oracle.is_exact(level)) {
      // At once: OpenSlide reads in pieces of 4096 px, and only the first begins at a whole pixel.
      const Box<LevelPx> whole{{0, 0},
                               {std::min<std::int64_t>(size.width, 4096), std::min<std::int64_t>(size.height, 4096)}};
      EXPECT_LE(largest_difference(read_tiles(tiles, level, whole), oracle.read(level, whole)), tolerance)
          << path << " level " << level;
      continue;
    }
    for (const Box<LevelPx>& box : random_boxes(size, 10, random)) {
      const std::vector<std::uint8_t> expected = oracle.read(level, box);
      EXPECT_LE(largest_difference(read_tiles(tiles, level, box), expected), tolerance)
          << path << " level " << level << " at " << box.origin.x << ", " << box.origin.y;
      std::vector<std::uint8_t> rgb(expected.size());
      slide->read(level, level_origin(slide->info().levels[static_cast<std::size_t>(level)], box.origin), box.size,
                  rgb);
      EXPECT_LE(largest_difference(rgb, expected), tolerance) << path;
    }
  }
}

TEST(TiffTiles, RealSlidesAreAsOpenSlideHasThem) {
  const char* data = std::getenv("VTISSUE_DATA");
  if (data == nullptr) GTEST_SKIP() << "VTISSUE_DATA is not set";
  expect_as_openslide(fs::path(data) / "slides/CMU-1-Small-Region.svs", 1);
  expect_as_openslide(fs::path(data) / "slides/her2st_C2_pyramid.tiff", 1);
  expect_as_openslide(fs::path(data) / "slides/tcga-cr-7395-01a-01-ts1.svs", 0);
}

TEST(TiffTiles, TheDemoSlideIsAsOpenSlideHasIt) {
  const char* demo = std::getenv("VTISSUE_DEMO_SLIDE");
  if (demo == nullptr) GTEST_SKIP() << "VTISSUE_DEMO_SLIDE is not set";
  expect_as_openslide(demo, 1);
}

TEST(TiffTiles, WhatWeWriteIsAsOpenSlideHasIt) {
  const TempFolder folder;
  const RgbImage picture = testing::tissue_picture({1300, 1100}, 0.7);
  PyramidOptions options;
  options.mpp = 0.7;
  for (const PyramidProfile profile : {PyramidProfile::kSvs, PyramidProfile::kGeneric}) {
    options.profile = profile;
    for (const PyramidCodec codec : {PyramidCodec::kJpeg, PyramidCodec::kLzw, PyramidCodec::kDeflate,
                                     PyramidCodec::kZstd, PyramidCodec::kJpeg2000}) {
      if (codec == PyramidCodec::kJpeg2000 && profile == PyramidProfile::kGeneric) continue;
      for (const ChromaSampling sampling : {ChromaSampling::k444, ChromaSampling::k420}) {
        if (sampling == ChromaSampling::k420 && codec != PyramidCodec::kJpeg) continue;
        options.codec = codec;
        options.sampling = sampling;
        testing::write_slide(folder / "a.tiff", picture, options);
        expect_as_openslide(folder / "a.tiff", codec == PyramidCodec::kJpeg ? 1 : 0);
      }
    }
  }
}

/// Tiles in RGB as scanners write them (libvips does from quality 90 on), and tables in each tile.
TEST(TiffTiles, ForeignPyramidsAreAsOpenSlideHasThem) {
  const TempFolder folder;
  ensure_image_libraries();
  RgbImage picture = testing::tissue_picture({1100, 900}, 0.7);
  for (const int quality : {75, 95}) {
    for (const auto compression : {VIPS_FOREIGN_TIFF_COMPRESSION_JPEG, VIPS_FOREIGN_TIFF_COMPRESSION_NONE}) {
      vips::VImage::new_from_memory(picture.rgb.data(), picture.rgb.size(), 1100, 900, 3, VIPS_FORMAT_UCHAR)
          .tiffsave((folder / "a.tiff").c_str(), vips::VImage::option()
                                                     ->set("tile", true)
                                                     ->set("tile_width", 128)
                                                     ->set("tile_height", 64)
                                                     ->set("pyramid", true)
                                                     ->set("depth", VIPS_FOREIGN_DZ_DEPTH_ONE)
                                                     ->set("Q", quality)
                                                     ->set("compression", compression));
      expect_as_openslide(folder / "a.tiff", 1);
    }
  }
}

TEST(TiffTiles, AnOmeTiffHasItsLevels) {
  const TempFolder folder;
  const RgbImage picture = testing::tissue_picture({1300, 1100}, 0.7);
  PyramidOptions svs, ome;
  svs.mpp = ome.mpp = 0.7;
  ome.profile = PyramidProfile::kOme;
  svs.sampling = ome.sampling = ChromaSampling::k420;  // with colour at every pixel an OME-TIFF's JPEG is of RGB
  for (const PyramidCodec codec : {PyramidCodec::kJpeg, PyramidCodec::kJpeg2000, PyramidCodec::kZstd}) {
    svs.codec = ome.codec = codec;
    ome.icc_profile.assign(200, std::byte{3});
    testing::write_slide(folder / "svs.tiff", picture, svs);
    testing::write_slide(folder / "ome.tiff", picture, ome);
    const auto expected = SlideReader::open(folder / "svs.tiff"), slide = SlideReader::open(folder / "ome.tiff");
    EXPECT_EQ(slide->info().format, "ome-tiff");
    EXPECT_EQ(slide->info().mpp->source, "ome.PhysicalSizeX");
    EXPECT_DOUBLE_EQ(slide->info().mpp->x, 0.7);
    EXPECT_EQ(slide->info().icc_profile, ome.icc_profile);
    ASSERT_EQ(slide->info().levels.size(), expected->info().levels.size());
    for (std::size_t level = 0; level < slide->info().levels.size(); ++level) {
      const Size<LevelPx> size = expected->info().levels[level].size;
      ASSERT_EQ(slide->info().levels[level].size, size);
      EXPECT_EQ(slide->info().levels[level].downsample, 1 << level);
      std::vector<std::uint8_t> a(static_cast<std::size_t>(size.area()) * 3), b(a.size());
      slide->read(static_cast<int>(level), {0, 0}, size, a);
      expected->read(static_cast<int>(level), {0, 0}, size, b);
      EXPECT_TRUE(a == b) << level;
    }
    const auto bytes = fs::file_size(folder / "ome.tiff");
    fs::resize_file(folder / "ome.tiff", bytes - bytes / 50);
    EXPECT_THROW(SlideReader::open(folder / "ome.tiff"), Error);
  }
}

TEST(TiffTiles, ManyThreadsSeeTheSame) {
  const TempFolder folder;
  const RgbImage picture = testing::noise_picture({1500, 1200});
  PyramidOptions options;
  options.mpp = 0.5;
  for (const PyramidCodec codec : {PyramidCodec::kJpeg, PyramidCodec::kDeflate}) {
    options.codec = codec;
    testing::write_slide(folder / "a.tiff", picture, options);
    const TiffTiles tiles(folder / "a.tiff", read_tiff_levels(folder / "a.tiff").chain);
    const auto whole = read_tiles(tiles, 0, {{0, 0}, tiles.levels()[0].size});
    const RgbImage level0{{tiles.levels()[0].size.width, tiles.levels()[0].size.height}, whole};
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        std::mt19937 random(static_cast<unsigned>(thread));
        for (int i = 0; i < 30; ++i) {
          const Box<LevelPx> box{
              {static_cast<std::int64_t>(random() % 1400), static_cast<std::int64_t>(random() % 1100)},
              {1 + static_cast<std::int64_t>(random() % 600), 300}};
          std::vector<std::uint8_t> rgb(static_cast<std::size_t>(box.size.area()) * 3);
          if (!tiles.read(0, box, rgb)) ++wrong;
          const auto expected =
              testing::cut(level0, {{box.origin.x, box.origin.y}, {box.size.width, box.size.height}}).rgb;
          if (rgb != expected) ++wrong;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
  }
}

/// Where a JPEG loses data, libjpeg and OpenSlide go on with grey.
TEST(TiffTiles, ADamagedJpegTileIsAnErrorAndNothingElseIs) {
  const TempFolder folder;
  const RgbImage picture = testing::noise_picture({600, 520});
  PyramidOptions options;
  options.mpp = 0.5;
  testing::write_slide(folder / "a.tiff", picture, options);
  const TiffLevels levels = read_tiff_levels(folder / "a.tiff");
  const auto slide = SlideReader::open(folder / "a.tiff");
  std::vector<std::uint8_t> before(200 * 200 * 3), rgb(before.size());
  slide->read(0, {300, 20}, {200, 200}, before);
  {
    std::fstream file(folder / "a.tiff", std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(levels.chain[0].tile_offsets[0] + levels.chain[0].tile_bytes[0] / 2));
    file << std::string(300, '\x7f') << "\xff\xd9";
  }
  const auto again = SlideReader::open(folder / "a.tiff");
  try {
    again->read(0, {10, 20}, {200, 200}, rgb);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    EXPECT_THAT(error.what(),
                HasSubstr("level 0, box at (10, 20) of 200 x 200 px cannot be decoded: tile (0, 0) at byte"));
  }
  again->read(0, {300, 20}, {200, 200}, rgb);
  EXPECT_TRUE(rgb == before);
}

/// An SVS whose JPEG streams are not of their directory's size: OpenSlide's to refuse.
TEST(TiffTiles, WhatIsUnusualIsLeftToOpenSlide) {
  const TempFolder folder;
  const RgbImage picture = testing::noise_picture({512, 512});
  PyramidOptions options;
  options.mpp = 0.5;
  testing::write_slide(folder / "a.tiff", picture, options);
  TiffLevels levels = read_tiff_levels(folder / "a.tiff");
  levels.chain[0].tile_width = 128;
  levels.chain[0].tiles_x *= 2;
  std::vector<std::uint64_t>& offsets = levels.chain[0].tile_offsets;
  offsets.insert(offsets.end(), offsets.begin(), offsets.end());
  std::vector<std::uint64_t>& bytes = levels.chain[0].tile_bytes;
  bytes.insert(bytes.end(), bytes.begin(), bytes.end());
  const TiffTiles tiles(folder / "a.tiff", levels.chain);
  std::vector<std::uint8_t> rgb(64 * 64 * 3);
  EXPECT_FALSE(tiles.read(0, {{0, 0}, {64, 64}}, rgb));
  EXPECT_TRUE(read_tiff_levels(folder / "none.tiff").chain.empty());
}

TEST(TiffTiles, TheCacheIsBounded) {
  const TempFolder folder;
  PyramidOptions options;
  options.mpp = 0.5;
  options.codec = PyramidCodec::kLzw;
  testing::write_slide(folder / "a.tiff", testing::constant_picture({5000, 4000}, 200, 100, 150), options);
  const TiffTiles tiles(folder / "a.tiff", read_tiff_levels(folder / "a.tiff").chain);
  for (int round = 0; round < 2; ++round) {  // more tiles than it holds, each cut
    for (std::int64_t y = 128; y < 3900; y += 256) {
      const auto rgb = read_tiles(tiles, 0, {{128, y}, {4600, 4}});
      for (std::size_t i = 0; i < rgb.size(); i += 999) ASSERT_EQ(rgb[i], i % 3 == 0 ? 200 : i % 3 == 1 ? 100 : 150);
    }
  }
}

}  // namespace
}  // namespace vtissue::io
