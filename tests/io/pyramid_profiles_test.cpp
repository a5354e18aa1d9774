// Each profile and codec as other programs open it.

#include <gmock/gmock.h>
#include <openslide.h>
#include <tiffio.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <vips/vips8>

#include "core/error.h"
#include "io/box_halve.h"
#include "io/pyramid_metadata.h"
#include "io/pyramid_writer.h"
#include "io/slide_reader.h"
#include "io/vips_runtime.h"
#include "tests/support/synthetic_slide.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_readers.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TempFolder;

constexpr double kMpp = 0.7;

struct Variant {
  std::string name;
  PyramidProfile profile;
  PyramidCodec codec;
  ChromaSampling sampling = ChromaSampling::k444;
  int quality = 90;
  double tolerance = 0;  ///< mean difference in levels
};

/// All that can be asked for.
std::vector<Variant> variants() {
  std::vector<Variant> all;
  for (const auto& [name, profile] :
       {std::pair{"svs", PyramidProfile::kSvs}, std::pair{"generic", PyramidProfile::kGeneric},
        std::pair{"ome", PyramidProfile::kOme}}) {
    const std::string prefix = std::string(name) + "-";
    all.push_back({prefix + "jpeg444", profile, PyramidCodec::kJpeg, ChromaSampling::k444, 90, 2.5});
    all.push_back({prefix + "jpeg420", profile, PyramidCodec::kJpeg, ChromaSampling::k420, 85, 4});
    all.push_back({prefix + "lzw", profile, PyramidCodec::kLzw});
    all.push_back({prefix + "deflate", profile, PyramidCodec::kDeflate});
    all.push_back({prefix + "zstd", profile, PyramidCodec::kZstd});
    if (profile == PyramidProfile::kGeneric) continue;
    all.push_back({prefix + "jpeg2000", profile, PyramidCodec::kJpeg2000, ChromaSampling::k444, 90, 1});
    all.push_back({prefix + "jpeg2000lossless", profile, PyramidCodec::kJpeg2000, ChromaSampling::k444, 100});
  }
  return all;
}

PyramidOptions options_of(const Variant& variant, Size<TargetPx> size) {
  PyramidOptions options;
  options.size = size;
  options.mpp = kMpp;
  options.profile = variant.profile;
  options.codec = variant.codec;
  options.sampling = variant.sampling;
  options.quality = variant.quality;
  options.block_px = 512;
  options.software = "vtissue \"9\" <&>";
  options.description = "Synthetic = 1|Seed = 7";
  options.provenance_json = R"({"synthetic":true,"note":"a<b \"µm\""})";
  options.icc_profile = std::vector<std::byte>(300, std::byte{7});
  return options;
}

BlockPixels pixels_of(const RgbImage& picture) {
  return [&picture](Box<TargetPx> box, std::vector<std::uint8_t>&) {
    return PixelRows{picture.rgb.data(), picture.size.width, picture.size.height, picture.size.width * 3}.box(
        box.origin.x, box.origin.y, box.size.width, box.size.height);
  };
}

double mean_difference(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  if (a.size() != b.size()) return 1000;
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

class PyramidProfiles : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempFolder>();
    const RgbImage picture = testing::tissue_picture({1600, 1204}, kMpp);
    levels_ = {picture, halved(picture)};
    levels_.push_back(halved(levels_[1]));
    for (std::size_t i = 0; i < levels_.size(); ++i) {
      std::ofstream(*folder_ / (std::to_string(i) + ".rgb"), std::ios::binary)
          .write(reinterpret_cast<const char*>(levels_[i].rgb.data()),
                 static_cast<std::streamsize>(levels_[i].rgb.size()));
    }
    const RgbImage label = testing::constant_picture({60, 40}, 255, 255, 0);
    const RgbImage macro = testing::constant_picture({90, 30}, 0, 128, 255);
    for (const Variant& variant : variants())
      write_pyramid(path(variant), options_of(variant, picture.size), pixels_of(picture), 2, label, macro);
  }
  static void TearDownTestSuite() {
    folder_.reset();
    levels_.clear();
  }

  static fs::path path(const Variant& variant) { return *folder_ / (variant.name + ".tiff"); }

  /// Sizes, µm/px and pixels as a library of another process sees them.
  static void expect_seen_by(const std::string& library, const std::function<std::size_t(const Variant&)>& levels_seen,
                             const std::function<std::vector<std::string>(const Variant&)>& others) {
    const std::string python = testing::test_readers_python();
    if (python.empty()) GTEST_SKIP() << "no second set of readers (tools/get-test-readers.sh)";
    std::string command =
        python + " " VTISSUE_SOURCE_DIR "/tests/io/read_levels.py " + library + " " + folder_->path().string();
    for (const Variant& variant : variants()) {
      if (levels_seen(variant) > 0) command += " " + path(variant).string();
    }
    const testing::ShellResult result = testing::run_in_shell(command);
    ASSERT_EQ(result.exit_code, 0) << result.out;
    const auto seen = nlohmann::json::parse(result.out);
    for (const Variant& variant : variants()) {
      const std::size_t count = levels_seen(variant);
      if (count == 0) continue;
      const nlohmann::json& slide = seen.at(variant.name + ".tiff");
      EXPECT_NEAR(slide["mpp"].get<double>(), kMpp, 1e-4) << variant.name;
      EXPECT_EQ(slide["others"].get<std::vector<std::string>>(), others(variant)) << variant.name;
      ASSERT_EQ(slide["levels"].size(), count) << variant.name;
      for (std::size_t level = 0; level < count; ++level) {
        const nlohmann::json& row = slide["levels"][level];
        EXPECT_EQ(row["width"], levels_[level].size.width) << variant.name;
        EXPECT_EQ(row["height"], levels_[level].size.height) << variant.name;
        ASSERT_TRUE(row["difference"].is_number()) << variant.name << " level " << level;
        EXPECT_LE(row["difference"].get<double>(), variant.tolerance) << variant.name << " level " << level;
      }
    }
  }

  static inline std::unique_ptr<TempFolder> folder_;
  static inline std::vector<RgbImage> levels_;
};

/// An OME-TIFF's levels are in SubIFDs, which OpenSlide does not read; nor JPEG 2000 outside Aperio's files.
std::size_t levels_in_openslide(const Variant& variant) {
  if (variant.profile != PyramidProfile::kOme) return 3;
  return variant.codec == PyramidCodec::kJpeg2000 ? 0 : 1;
}

TEST_F(PyramidProfiles, TheLinkedOpenSlide) {
  for (const Variant& variant : variants()) {
    const std::unique_ptr<openslide_t, void (*)(openslide_t*)> slide(openslide_open(path(variant).c_str()),
                                                                     openslide_close);
    const std::size_t count = levels_in_openslide(variant);
    if (count == 0) {
      EXPECT_TRUE(slide == nullptr || openslide_get_error(slide.get()) != nullptr) << variant.name;
      continue;
    }
    ASSERT_NE(slide, nullptr) << variant.name;
    ASSERT_EQ(openslide_get_error(slide.get()), nullptr) << variant.name;
    ASSERT_EQ(openslide_get_level_count(slide.get()), static_cast<int>(count)) << variant.name;
    const bool is_svs = variant.profile == PyramidProfile::kSvs;
    EXPECT_STREQ(openslide_get_property_value(slide.get(), "openslide.vendor"), is_svs ? "aperio" : "generic-tiff");
    for (std::size_t level = 0; level < count; ++level) {
      const RgbImage& expected = levels_[level];
      std::int64_t width = 0, height = 0;
      openslide_get_level_dimensions(slide.get(), static_cast<int>(level), &width, &height);
      ASSERT_EQ(width, expected.size.width) << variant.name;
      ASSERT_EQ(height, expected.size.height) << variant.name;
      std::vector<std::uint32_t> argb(static_cast<std::size_t>(width * height));
      openslide_read_region(slide.get(), argb.data(), 0, 0, static_cast<int>(level), width, height);
      ASSERT_EQ(openslide_get_error(slide.get()), nullptr) << variant.name;
      std::vector<std::uint8_t> rgb;
      for (const std::uint32_t pixel : argb) {
        for (const int shift : {16, 8, 0}) rgb.push_back(static_cast<std::uint8_t>(pixel >> shift & 255));
      }
      EXPECT_LE(mean_difference(rgb, expected.rgb), variant.tolerance) << variant.name << " level " << level;
    }
    std::int64_t width = 0, height = 0;
    openslide_get_associated_image_dimensions(slide.get(), "label", &width, &height);
    EXPECT_EQ(width, is_svs ? 60 : -1) << variant.name;
  }
}

/// The wheel's libtiff is without zstd.
TEST_F(PyramidProfiles, OpenSlide4) {
  const auto levels = [](const Variant& variant) {
    return variant.codec == PyramidCodec::kZstd ? 0 : levels_in_openslide(variant);
  };
  expect_seen_by("openslide", levels, [](const Variant& variant) {
    return variant.profile == PyramidProfile::kSvs ? std::vector<std::string>{"label", "macro", "thumbnail"}
                                                   : std::vector<std::string>{};
  });
}

TEST_F(PyramidProfiles, Tifffile) {
  expect_seen_by(
      "tifffile", [](const Variant&) { return std::size_t{3}; },
      [](const Variant& variant) -> std::vector<std::string> {
        if (variant.profile == PyramidProfile::kSvs) return {"Label", "Macro", "Thumbnail"};
        if (variant.profile == PyramidProfile::kOme) return {"label image", "macro image"};
        return {};
      });
}

TEST_F(PyramidProfiles, Libvips) {
  ensure_image_libraries();
  for (const Variant& variant : variants()) {
    for (int level = 0; level < 3; ++level) {
      auto* const where = vips::VImage::option();
      if (variant.profile == PyramidProfile::kSvs) where->set("page", level == 0 ? 0 : level + 1);
      if (variant.profile == PyramidProfile::kGeneric) where->set("page", level);
      if (variant.profile == PyramidProfile::kOme) where->set("subifd", level - 1);
      const vips::VImage image = vips::VImage::tiffload(path(variant).c_str(), where);
      const RgbImage& expected = levels_[static_cast<std::size_t>(level)];
      ASSERT_EQ(image.width(), expected.size.width) << variant.name;
      ASSERT_EQ(image.height(), expected.size.height) << variant.name;
      EXPECT_NEAR(image.xres(), 1000 / (kMpp * (1 << level)), 1e-3) << variant.name;
      // tiffload takes any JPEG 2000 tile for YCbCr; an SVS it opens through OpenSlide unless told otherwise.
      const bool is_jpeg2000 = variant.codec == PyramidCodec::kJpeg2000;
      if (is_jpeg2000 && variant.profile == PyramidProfile::kOme) continue;
      vips::VImage shown = image;
      if (is_jpeg2000) {
        shown = vips::VImage::new_from_file(path(variant).c_str(), vips::VImage::option()->set("level", level));
        shown = shown.flatten();
      }
      std::size_t bytes = 0;
      const std::unique_ptr<std::uint8_t, void (*)(void*)> pixels(
          static_cast<std::uint8_t*>(shown.write_to_memory(&bytes)), g_free);
      EXPECT_LE(mean_difference({pixels.get(), pixels.get() + bytes}, expected.rgb), variant.tolerance)
          << variant.name << " level " << level;
      std::size_t icc = 0;
      image.get_blob(VIPS_META_ICC_NAME, &icc);
      EXPECT_EQ(icc, 300u) << variant.name;
    }
  }
}

/// What readers go by: NewSubfileType, SubIFDs, and no tile without data.
TEST_F(PyramidProfiles, DirectoriesAreMarkedAsReadersWant) {
  for (const Variant& variant : variants()) {
    const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(TIFFOpen(path(variant).c_str(), "r"), TIFFClose);
    ASSERT_NE(tiff, nullptr);
    std::vector<std::uint32_t> types;
    do {
      std::uint32_t type = 99, tiles = 0;
      ASSERT_EQ(TIFFGetField(tiff.get(), TIFFTAG_SUBFILETYPE, &type), 1) << variant.name;
      types.push_back(type);
      tiles = TIFFIsTiled(tiff.get()) ? TIFFNumberOfTiles(tiff.get()) : TIFFNumberOfStrips(tiff.get());
      for (std::uint32_t i = 0; i < tiles; ++i) EXPECT_GT(TIFFGetStrileByteCount(tiff.get(), i), 0u) << variant.name;
    } while (TIFFReadDirectory(tiff.get()) == 1);
    switch (variant.profile) {
      case PyramidProfile::kSvs:
        EXPECT_THAT(types, ElementsAre(0, 0, 0, 0, 1, 9)) << variant.name;
        break;
      case PyramidProfile::kGeneric:
        EXPECT_THAT(types, ElementsAre(0, 1, 1)) << variant.name;
        break;
      case PyramidProfile::kOme:
        EXPECT_THAT(types, ElementsAre(0, 0, 0)) << variant.name;
        break;
    }
  }
}

TEST_F(PyramidProfiles, TheProvenanceIsInEachAndInWhatItsReadersShow) {
  for (const Variant& variant : variants()) {
    const PyramidOptions options = options_of(variant, levels_[0].size);
    EXPECT_EQ(read_provenance(path(variant)), options.provenance_json) << variant.name;
    const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(TIFFOpen(path(variant).c_str(), "r"), TIFFClose);
    char* text = nullptr;
    ASSERT_EQ(TIFFGetField(tiff.get(), TIFFTAG_IMAGEDESCRIPTION, &text), 1);
    if (variant.profile == PyramidProfile::kSvs) {
      EXPECT_THAT(text, HasSubstr("|Virtual = 1|ContentWidth = 1600|ContentHeight = 1204|Synthetic = 1|Seed = 7"));
    } else if (variant.profile == PyramidProfile::kGeneric) {
      const auto shown = nlohmann::json::parse(text);
      EXPECT_EQ(shown["Provenance"]["synthetic"], true);
      EXPECT_EQ(shown["Synthetic"], "1");
      EXPECT_EQ(shown["Generator"], options.software);
    } else {
      EXPECT_THAT(text, HasSubstr("<M K=\"Synthetic\">1</M>"));
      EXPECT_THAT(text, HasSubstr("a&lt;b \\\"µm\\\""));
      EXPECT_THAT(text, HasSubstr("Creator=\"vtissue &quot;9&quot; &lt;&amp;&gt;\""));
    }
  }
}

TEST_F(PyramidProfiles, BytesDoNotDependOnThreads) {
  for (const Variant& variant : {variants()[1], variants()[6], variants()[14]}) {
    const PyramidOptions options = options_of(variant, levels_[0].size);
    std::string first;
    for (const int threads : {1, 3}) {
      write_pyramid(*folder_ / "a.tiff", options, pixels_of(levels_[0]), threads);
      std::ifstream file(*folder_ / "a.tiff", std::ios::binary);
      const std::string content{std::istreambuf_iterator<char>(file), {}};
      if (threads == 1) first = content;
      EXPECT_TRUE(content == first) << variant.name;
    }
  }
}

TEST_F(PyramidProfiles, AFailingSourceLeavesNoFile) {
  const PyramidOptions options = options_of(variants()[0], levels_[0].size);
  const BlockPixels broken = [&](Box<TargetPx> box, std::vector<std::uint8_t>& scratch) -> PixelRows {
    if (box.origin.y > 0) throw Error(ErrorCode::kBadInput, "no more pixels");
    return pixels_of(levels_[0])(box, scratch);
  };
  EXPECT_THROW(write_pyramid(*folder_ / "broken.tiff", options, broken, 2), Error);
  EXPECT_FALSE(fs::exists(*folder_ / "broken.tiff"));
}

TEST(PyramidTiles, ThoseThatRepeatAreStoredOnce) {
  const TempFolder folder;
  RgbImage picture = testing::constant_picture({4096, 4096}, 244, 243, 245);
  PyramidOptions options;
  options.size = picture.size;
  options.mpp = kMpp;
  for (const PyramidProfile profile : {PyramidProfile::kSvs, PyramidProfile::kGeneric, PyramidProfile::kOme}) {
    options.profile = profile;
    write_pyramid(folder / "a.tiff", options, pixels_of(picture), 2);
    const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(TIFFOpen((folder / "a.tiff").c_str(), "r"), TIFFClose);
    ASSERT_EQ(TIFFNumberOfTiles(tiff.get()), 256u);
    for (std::uint32_t tile = 1; tile < 256; ++tile) {
      EXPECT_EQ(TIFFGetStrileOffset(tiff.get(), tile), TIFFGetStrileOffset(tiff.get(), 0));
      EXPECT_EQ(TIFFGetStrileByteCount(tiff.get(), tile), TIFFGetStrileByteCount(tiff.get(), 0));
    }
    EXPECT_LT(fs::file_size(folder / "a.tiff"), 40000u);
    const auto slide = SlideReader::open(folder / "a.tiff");
    std::vector<std::uint8_t> rgb(700 * 700 * 3);
    slide->read(0, {2000, 3000}, {700, 700}, rgb);
    for (std::size_t i = 0; i < rgb.size(); ++i) ASSERT_NEAR(rgb[i], picture.rgb[i % 3], 1);
  }
}

TEST(PyramidTiles, Jpeg2000WhereNoViewerOpensItIsRefused) {
  PyramidOptions options;
  options.size = {100, 100};
  options.mpp = kMpp;
  options.profile = PyramidProfile::kGeneric;
  options.codec = PyramidCodec::kJpeg2000;
  try {
    layout_of(options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_THAT(error.what(), HasSubstr("choose the profile svs or ome"));
  }
}

TEST_F(PyramidProfiles, OurReaderListsLabelAndMacroOfAnOmeTiff) {
  for (const Variant& variant : variants()) {
    if (variant.profile != PyramidProfile::kOme) continue;
    const auto slide = SlideReader::open(path(variant));
    EXPECT_THAT(slide->info().associated, ElementsAre("label", "macro")) << variant.name;
    const auto label = slide->associated_image("label"), macro = slide->associated_image("macro");
    EXPECT_EQ(label.size, (Size<LevelPx>{60, 40})) << variant.name;
    EXPECT_EQ(macro.size, (Size<LevelPx>{90, 30})) << variant.name;
    EXPECT_NEAR(label.rgb[0], 255, 3);
    EXPECT_NEAR(label.rgb[2], 0, 3);
    EXPECT_NEAR(macro.rgb[1], 128, 3);
    EXPECT_THROW(slide->associated_image("thumbnail"), std::invalid_argument);
  }
}

/// The Bio-Formats of tools/get-test-readers.sh bio-formats, as a command; empty if it or Java is not installed.
std::string bio_formats(const std::string& tool) {
  const char* cache = std::getenv("VTISSUE_CACHE");
  const char* home = std::getenv("HOME");
  const auto folder = cache != nullptr ? std::filesystem::path(cache)
                                       : std::filesystem::path(home != nullptr ? home : "/") / ".cache/vtissue";
  const auto jar = folder / "bio-formats-1" / "bioformats_package.jar";
  if (!std::filesystem::exists(jar) || testing::run_in_shell("java -version 2>&1").exit_code != 0) return "";
  return "java -Xmx1g -cp " + jar.string() + " loci.formats.tools." + tool + " ";
}

TEST_F(PyramidProfiles, BioFormatsSeesLevelsPixelsLabelAndMacro) {
  const std::string info = bio_formats("ImageInfo"), convert = bio_formats("ImageConverter");
  if (info.empty()) GTEST_SKIP() << "no Java, or no Bio-Formats (tools/get-test-readers.sh bio-formats)";
  for (const Variant& variant : variants()) {
    if (variant.name != "ome-deflate" && variant.name != "ome-jpeg444" && variant.name != "ome-jpeg420") continue;
    SCOPED_TRACE(variant.name);
    const testing::ShellResult seen =
        testing::run_in_shell(info + "-nopix -noflat -no-upgrade -omexml " + path(variant).string() + " 2>/dev/null");
    ASSERT_EQ(seen.exit_code, 0) << seen.out;
    EXPECT_THAT(seen.out, HasSubstr("[OME-TIFF]"));
    EXPECT_THAT(seen.out, HasSubstr("Series count = 3"));
    EXPECT_THAT(seen.out, HasSubstr("Resolutions = 3"));
    for (const RgbImage& level : levels_) {
      EXPECT_THAT(seen.out, HasSubstr("= " + std::to_string(level.size.width) + "\n"));
    }
    EXPECT_THAT(seen.out, HasSubstr("PhysicalSizeX=\"0.7\""));
    EXPECT_THAT(seen.out, HasSubstr("Name=\"label image\""));
    EXPECT_THAT(seen.out, HasSubstr("Name=\"macro image\""));
    // A box of level 0 as it decodes it, written without loss.
    const auto part = *folder_ / "part.tiff";
    std::filesystem::remove(part);
    const testing::ShellResult written =
        testing::run_in_shell(convert + "-no-upgrade -series 0 -crop 512,256,300,200 " + path(variant).string() + " " +
                              part.string() + " 2>&1");
    ASSERT_EQ(written.exit_code, 0) << written.out;
    const auto slide = SlideReader::open(part, {.mpp = kMpp});
    std::vector<std::uint8_t> rgb(300 * 200 * 3);
    slide->read(0, {0, 0}, {300, 200}, rgb);
    EXPECT_LE(mean_difference(rgb, testing::cut(levels_[0], {{512, 256}, {300, 200}}).rgb), variant.tolerance);
  }
}

}  // namespace
}  // namespace vtissue::io
