#include "io/pyramid_writer.h"

#include <gmock/gmock.h>
#include <openslide.h>
#include <tiffio.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <vips/vips8>

#include "core/error.h"
#include "io/bitmap_font.h"
#include "io/pyramid_block.h"
#include "io/pyramid_metadata.h"
#include "io/slide_reader.h"
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
using ::testing::StartsWith;
using testing::TempFolder;
using testing::write_slide;

/// Small units, so that blocks, tiles and levels of each kind occur in a small picture.
PyramidOptions small_options(Size<TargetPx> size, PyramidCodec codec = PyramidCodec::kDeflate) {
  PyramidOptions options;
  options.size = size;
  options.mpp = 0.5;
  options.codec = codec;
  options.tile_px = 64;
  options.block_px = 128;
  return options;
}

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

using Parts = std::map<std::pair<int, int>, std::vector<std::byte>>;

Parts encode_all(const PyramidOptions& options, const RgbImage& picture, bool backwards,
                 const LevelDecorator& decorate = {}) {
  const PyramidLayout layout = layout_of(options);
  const std::int64_t block = options.block_px;
  Parts parts;
  const int count = layout.blocks_x * layout.blocks_y;
  for (int i = 0; i < count; ++i) {
    const int index = backwards ? count - 1 - i : i;
    const int bx = index % layout.blocks_x, by = index / layout.blocks_x;
    parts[{bx, by}] =
        encode_block(options, bx, by, cut(picture, {{bx * block, by * block}, {block, block}}).rgb, decorate);
  }
  return parts;
}

void write_parts(const fs::path& path, const PyramidOptions& options, const Parts& parts,
                 const LevelDecorator& decorate = {}) {
  write_pyramid(
      path, options,
      [&](int bx, int by) {
        return parts.at({bx, by});
      },
      constant_picture({60, 40}, 255, 255, 0), constant_picture({90, 30}, 0, 128, 255), decorate);
}

RgbImage level_pixels(const SlideReader& slide, int level) {
  const Size<LevelPx> size = slide.info().levels.at(static_cast<std::size_t>(level)).size;
  RgbImage image{{size.width, size.height}, std::vector<std::uint8_t>(static_cast<std::size_t>(size.area()) * 3)};
  slide.read(level, {0, 0}, size, image.rgb);
  return image;
}

/// The levels by the book.
std::vector<RgbImage> reference_levels(const PyramidOptions& options, const RgbImage& picture) {
  const PyramidLayout layout = layout_of(options);
  std::vector<RgbImage> levels{cut(picture, {{0, 0}, layout.padded_size})};
  while (levels.size() < layout.levels.size()) {
    const RgbImage& above = levels.back();
    RgbImage level{{above.size.width / 2, above.size.height / 2}, {}};
    for (std::int64_t y = 0; y < level.size.height; ++y) {
      for (std::int64_t x = 0; x < level.size.width; ++x) {
        for (int c = 0; c < 3; ++c) {
          const auto at = [&](std::int64_t dx, std::int64_t dy) {
            return int{above.rgb[static_cast<std::size_t>(((2 * y + dy) * above.size.width + 2 * x + dx) * 3 + c)]};
          };
          level.rgb.push_back(static_cast<std::uint8_t>((at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1) + 2) / 4));
        }
      }
    }
    levels.push_back(std::move(level));
  }
  return levels;
}

class PyramidSizes : public ::testing::TestWithParam<Size<TargetPx>> {};

TEST_P(PyramidSizes, EveryLevelIsTheMeanOfTheOneAbove) {
  const TempFolder folder;
  const RgbImage picture = noise_picture(GetParam());
  for (const int block_px : {64, 128, 512}) {
    PyramidOptions options = small_options(picture.size);
    options.block_px = block_px;
    write_parts(folder / "a.tiff", options, encode_all(options, picture, false));
    const auto slide = SlideReader::open(folder / "a.tiff");
    const auto expected = reference_levels(options, picture);
    ASSERT_EQ(slide->info().levels.size(), expected.size());
    for (std::size_t level = 0; level < expected.size(); ++level) {
      EXPECT_EQ(level_pixels(*slide, static_cast<int>(level)).rgb, expected[level].rgb)
          << block_px << " level " << level;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(PyramidWriter, PyramidSizes,
                         ::testing::Values(Size<TargetPx>{1, 1}, Size<TargetPx>{64, 64}, Size<TargetPx>{65, 63},
                                           Size<TargetPx>{512, 100}, Size<TargetPx>{513, 513},
                                           Size<TargetPx>{1300, 700}, Size<TargetPx>{4100, 70},
                                           Size<TargetPx>{33, 2300}));

TEST(PyramidWriter, OpenSlideSeesLevelsScaleAndPictures) {
  const TempFolder folder;
  PyramidOptions options = small_options({2100, 1300}, PyramidCodec::kJpeg);
  options.mpp = 0.7;
  options.description = "Synthetic = true|Seed = 7";
  write_parts(folder / "a.tiff", options, encode_all(options, testing::tissue_picture(options.size, 0.7), false));
  const std::unique_ptr<openslide_t, void (*)(openslide_t*)> slide(openslide_open((folder / "a.tiff").c_str()),
                                                                   openslide_close);
  ASSERT_NE(slide, nullptr);
  ASSERT_EQ(openslide_get_error(slide.get()), nullptr);
  const PyramidLayout layout = layout_of(options);
  ASSERT_EQ(openslide_get_level_count(slide.get()), static_cast<int>(layout.levels.size()));
  ASSERT_EQ(layout.levels.size(), 4u);
  for (int level = 0; level < 4; ++level) EXPECT_EQ(openslide_get_level_downsample(slide.get(), level), 1 << level);
  const auto property = [&](const char* name) {
    const char* const value = openslide_get_property_value(slide.get(), name);
    return value == nullptr ? std::string("(none)") : std::string(value);
  };
  EXPECT_NEAR(std::stod(property("openslide.mpp-x")), 0.7, 1e-12);
  EXPECT_EQ(property("openslide.objective-power"), "14");
  EXPECT_EQ(property("aperio.Virtual"), "1");
  EXPECT_EQ(property("aperio.Generator"), "vtissue");
  EXPECT_EQ(property("aperio.Synthetic"), "true");
  EXPECT_EQ(property("aperio.Seed"), "7");
  EXPECT_EQ(property("aperio.ContentWidth"), "2100");
  EXPECT_EQ(property("aperio.ScanScope ID"), "(none)");
  EXPECT_EQ(property("tiff.DateTime"), "(none)");
  const auto associated = [&](const char* name) {
    std::int64_t width = 0, height = 0;
    openslide_get_associated_image_dimensions(slide.get(), name, &width, &height);
    std::vector<std::uint32_t> argb(static_cast<std::size_t>(std::max<std::int64_t>(1, width * height)));
    if (width > 0) openslide_read_associated_image(slide.get(), name, argb.data());
    EXPECT_EQ(openslide_get_error(slide.get()), nullptr) << name;
    return std::make_tuple(width, height, argb.front());
  };
  EXPECT_EQ(associated("label"), std::make_tuple(60, 40, 0xffffff00u));
  EXPECT_EQ(std::get<0>(associated("macro")), 90);
  EXPECT_EQ(std::get<0>(associated("thumbnail")), layout.levels.back().width);
  EXPECT_EQ(std::get<1>(associated("thumbnail")), layout.levels.back().height);
}

TEST(PyramidWriter, LibvipsAndLibtiffReadIt) {
  const TempFolder folder;
  const RgbImage picture = noise_picture({1300, 700});
  const PyramidOptions options = small_options(picture.size);
  write_parts(folder / "a.tiff", options, encode_all(options, picture, false));
  ensure_image_libraries();
  const auto expected = reference_levels(options, picture);
  // Directory 1 is the thumbnail; the others are the levels.
  for (const auto& [page, level] : {std::pair{0, 0}, std::pair{1, 2}, std::pair{2, 1}, std::pair{3, 2}}) {
    vips::VImage image = vips::VImage::tiffload((folder / "a.tiff").c_str(), vips::VImage::option()->set("page", page));
    std::size_t bytes = 0;
    const std::unique_ptr<std::uint8_t, void (*)(void*)> pixels(
        static_cast<std::uint8_t*>(image.write_to_memory(&bytes)), g_free);
    EXPECT_EQ(std::vector<std::uint8_t>(pixels.get(), pixels.get() + bytes),
              expected[static_cast<std::size_t>(level)].rgb)
        << page;
    EXPECT_NEAR(image.xres(), page == 1 ? 1.0 : 1000 / (0.5 * (1 << level)), page == 1 ? 9.1 : 1e-3);
  }
  const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(TIFFOpen((folder / "a.tiff").c_str(), "r"), TIFFClose);
  ASSERT_NE(tiff, nullptr);
  EXPECT_EQ(TIFFNumberOfDirectories(tiff.get()), 6);  // three levels, thumbnail, label, macro
  for (const auto& [directory, subfile, line] : {std::tuple{0, 0u, "1300x700"}, std::tuple{1, 0u, "1300x700"},
                                                 std::tuple{4, 1u, "label 60x40"}, std::tuple{5, 9u, "macro 90x30"}}) {
    ASSERT_EQ(TIFFSetDirectory(tiff.get(), static_cast<tdir_t>(directory)), 1);
    std::uint32_t type = 99;
    char* description = nullptr;
    EXPECT_EQ(TIFFGetField(tiff.get(), TIFFTAG_SUBFILETYPE, &type), 1);
    EXPECT_EQ(type, subfile);
    ASSERT_EQ(TIFFGetField(tiff.get(), TIFFTAG_IMAGEDESCRIPTION, &description), 1);
    EXPECT_THAT(description, AllOf(StartsWith("Aperio Image Library"), HasSubstr(std::string("\n") + line)));
  }
}

TEST(PyramidWriter, AConstantStaysConstantOnEachLevel) {
  const TempFolder folder;
  const RgbImage picture = constant_picture({1280, 768}, 200, 120, 180);  // fits without padding
  for (const PyramidCodec codec : {PyramidCodec::kDeflate, PyramidCodec::kJpeg}) {
    const PyramidOptions options = small_options(picture.size, codec);
    write_parts(folder / "a.tiff", options, encode_all(options, picture, false));
    const auto slide = SlideReader::open(folder / "a.tiff");
    const int tolerance = codec == PyramidCodec::kJpeg ? 3 : 0;
    for (int level = 0; level < static_cast<int>(slide->info().levels.size()); ++level) {
      const RgbImage pixels = level_pixels(*slide, level);
      for (std::size_t i = 0; i < pixels.rgb.size(); ++i)
        ASSERT_NEAR(pixels.rgb[i], picture.rgb[i % 3], tolerance) << level;
    }
  }
}

TEST(PyramidWriter, JpegKeepsColours) {
  const TempFolder folder;
  const RgbImage picture = testing::tissue_picture({900, 600}, 0.7);
  PyramidOptions options = small_options(picture.size, PyramidCodec::kJpeg);
  write_parts(folder / "a.tiff", options, encode_all(options, picture, false));
  const auto slide = SlideReader::open(folder / "a.tiff");
  const auto expected = reference_levels(options, picture);
  for (std::size_t level = 0; level < expected.size(); ++level) {
    const RgbImage pixels = level_pixels(*slide, static_cast<int>(level));
    ASSERT_EQ(pixels.rgb.size(), expected[level].rgb.size());
    double difference[3] = {};
    for (std::size_t i = 0; i < pixels.rgb.size(); ++i)
      difference[i % 3] += std::abs(pixels.rgb[i] - expected[level].rgb[i]);
    for (const double sum : difference) EXPECT_LT(sum / static_cast<double>(pixels.size.area()), 3.0) << level;
  }
}

TEST(PyramidWriter, BytesDoNotDependOnTheOrderOfBlocks) {
  const TempFolder folder;
  const RgbImage picture = noise_picture({700, 600});
  for (const PyramidCodec codec : {PyramidCodec::kDeflate, PyramidCodec::kJpeg}) {
    const PyramidOptions options = small_options(picture.size, codec);
    write_parts(folder / "a.tiff", options, encode_all(options, picture, false));
    write_parts(folder / "b.tiff", options, encode_all(options, picture, true));
    EXPECT_TRUE(content(folder / "a.tiff") == content(folder / "b.tiff"));
  }
}

TEST(PyramidWriter, WhatIsDrawnDoesNotReachLowerLevels) {
  const TempFolder folder;
  const RgbImage picture = noise_picture({1300, 700});
  const PyramidOptions options = small_options(picture.size);
  const auto blacken = [](int drawn_level) {
    return [drawn_level](int level, Point<LevelPx>, RgbImage& pixels) {
      if (level == drawn_level) std::fill(pixels.rgb.begin(), pixels.rgb.end(), 0);
    };
  };
  const auto expected = reference_levels(options, picture);
  for (int drawn = 0; drawn < 3; ++drawn) {
    const LevelDecorator decorate = blacken(drawn);
    write_parts(folder / "a.tiff", options, encode_all(options, picture, false, decorate), decorate);
    const auto slide = SlideReader::open(folder / "a.tiff");
    for (int level = 0; level < 3; ++level) {
      const RgbImage pixels = level_pixels(*slide, level);
      const RgbImage black = constant_picture(pixels.size, 0, 0, 0);
      EXPECT_EQ(pixels.rgb, level == drawn ? black.rgb : expected[static_cast<std::size_t>(level)].rgb);
    }
  }
}

TEST(PyramidWriter, TextIsDrawnWithoutSeamsBetweenBlocks) {
  const TempFolder folder;
  const PyramidOptions options = small_options({1300, 700});
  const LevelDecorator decorate = [](int, Point<LevelPx> origin, RgbImage& pixels) {
    draw_text(pixels, {20 - origin.x, 40 - origin.y}, "SYNTHETIC", {.cap_height_px = 30});
  };
  const RgbImage white = constant_picture(options.size, 255, 255, 255);
  write_parts(folder / "a.tiff", options, encode_all(options, white, false, decorate), decorate);
  const auto slide = SlideReader::open(folder / "a.tiff");
  for (int level = 0; level < 3; ++level) {
    const RgbImage pixels = level_pixels(*slide, level);
    RgbImage expected = constant_picture(pixels.size, 255, 255, 255);
    draw_text(expected, {20, 40}, "SYNTHETIC", {.cap_height_px = 30});
    EXPECT_EQ(pixels.rgb, expected.rgb) << level;
  }
}

TEST(PyramidWriter, WhatIsBeyondTheContentIsWhite) {
  const TempFolder folder;
  PyramidOptions options = small_options({513, 513});
  const PyramidLayout layout = layout_of(options);
  ASSERT_EQ(layout.padded_size, (Size<TargetPx>{514, 514}));
  Parts parts;
  const auto black = constant_picture({128, 128}, 0, 0, 0);
  for (int by = 0; by < layout.blocks_y; ++by) {
    for (int bx = 0; bx < layout.blocks_x; ++bx) parts[{bx, by}] = encode_block(options, bx, by, black.rgb);
  }
  write_parts(folder / "a.tiff", options, parts);
  const RgbImage pixels = level_pixels(*SlideReader::open(folder / "a.tiff"), 0);
  EXPECT_EQ(pixels.rgb, cut(constant_picture({513, 513}, 0, 0, 0), {{0, 0}, {514, 514}}).rgb);
}

TEST(PyramidWriter, ProvenanceComesBackWhole) {
  const TempFolder folder;
  PyramidOptions options = small_options({100, 100});
  options.provenance_json = R"({"synthetic": true, "note": "a<b && c>d </vt:provenance> &amp; µm", "big": ")" +
                            std::string(100000, 'x') + "\"}";
  write_parts(folder / "a.tiff", options, encode_all(options, noise_picture(options.size), false));
  EXPECT_EQ(read_provenance(folder / "a.tiff"), options.provenance_json);
}

TEST(PyramidWriter, FailuresAreNamedAndLeaveNothing) {
  const TempFolder folder;
  const PyramidOptions options = small_options({300, 300});
  const Parts parts = encode_all(options, noise_picture(options.size), false);
  const auto expect_error = [&](const fs::path& path, const std::string& text) {
    try {
      write_parts(path, options, parts);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kOutput);
      EXPECT_THAT(error.what(), AllOf(HasSubstr(path.string()), HasSubstr(text)));
    }
  };
  expect_error(folder / "missing/a.tiff", "No such file or directory");
  if (fs::exists("/dev/full")) {
    fs::create_symlink("/dev/full", folder / "full.tiff");
    expect_error(folder / "full.tiff", "No space left on device");
  }
  const auto fail = [](int, int) -> std::vector<std::byte> { throw Error(ErrorCode::kInterrupted, "stop"); };
  EXPECT_THROW(write_pyramid(folder / "a.tiff", options, fail, {}, {}), Error);
  EXPECT_FALSE(fs::exists(folder / "a.tiff"));
}

TEST(PyramidWriter, RefusesForeignParts) {
  const TempFolder folder;
  const PyramidOptions options = small_options({300, 300});
  const Parts parts = encode_all(options, noise_picture(options.size), false);
  std::vector<std::byte> shorter = parts.at({0, 0}), longer = shorter;
  shorter.pop_back();
  longer.push_back(std::byte{0});
  for (const std::vector<std::byte>& part : {std::vector<std::byte>{}, shorter, longer, parts.at({2, 2})}) {
    EXPECT_THROW(parse_block(options, 0, 0, part), Error);
  }
  const std::vector<std::uint8_t> pixels(128 * 128 * 3);
  EXPECT_THROW(encode_block(options, 3, 0, pixels), std::invalid_argument);
  EXPECT_THROW(encode_block(options, 0, 0, std::span(pixels).first(100)), std::invalid_argument);
}

}  // namespace
}  // namespace vtissue::io
