#include "stages/tile/tissue_presets.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "io/slide_reader.h"
#include "stages/tile/hest_mask.h"
#include "stages/tile/otsu.h"

namespace vtissue::stages {
namespace {

struct Golden {
  Size<LevelPx> size;
  std::vector<std::uint8_t> rgb;

  explicit Golden(const std::string& name) {
    const auto reader = io::SlideReader::open(std::filesystem::path(VTISSUE_TEST_DATA) / "tissue" / name);
    size = reader->info().levels.front().size;
    rgb.resize(static_cast<std::size_t>(size.area()) * 3);
    reader->read(0, {0, 0}, size, rgb);
  }
  RgbView view() const { return {rgb, size}; }
  std::vector<std::uint8_t> mask() const {
    std::vector<std::uint8_t> pixels;
    for (std::size_t i = 0; i < rgb.size(); i += 3) pixels.push_back(rgb[i] > 0);
    return pixels;
  }
};

std::size_t differences(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

struct ClamCase {
  const char* name;
  ClamOptions options;
};

class ClamMaskTest : public testing::TestWithParam<ClamCase> {};

/// tests/data/tissue/make_tissue_goldens.py made them with OpenCV.
TEST_P(ClamMaskTest, HasThePixelsOfOpenCV) {
  const Golden picture("picture.png"), golden(std::string("clam_") + GetParam().name + ".png");
  const BinaryImage mask = clam_mask(picture.view(), 64, GetParam().options);
  EXPECT_EQ(differences(mask.pixels, golden.mask()), 0u);
  const auto set = std::count(mask.pixels.begin(), mask.pixels.end(), 1);
  EXPECT_GT(set, mask.size.area() / 20);
  EXPECT_LT(set, mask.size.area());
}

INSTANTIATE_TEST_SUITE_P(Goldens, ClamMaskTest,
                         testing::Values(ClamCase{"published", {8, 7, 4, false, 1, 0.25, 8}},
                                         ClamCase{"biopsy", {15, 11, 2, false, 1, 1, 2}},
                                         ClamCase{"otsu", {8, 7, 4, true, 0.2, 0.1, 8}},
                                         ClamCase{"bare", {20, 1, 0, false, 0, 0, 3}},
                                         ClamCase{"one_hole", {8, 3, 3, false, 0.5, 0, 1}}),
                         [](const auto& test) { return test.param.name; });

TEST(HestMask, HasThePixelsOfScikitImage) {
  const Golden picture("picture.png"), golden("hest.png");
  const BinaryImage mask = hest_mask(picture.view(), 8, {.min_area_um2 = 60 * 64, .min_hole_um2 = 400 * 64});
  EXPECT_EQ(differences(mask.pixels, golden.mask()), 0u);
}

TEST(Otsu, PartsTwoClasses) {
  std::vector<std::int64_t> histogram(256);
  histogram[10] = 100, histogram[12] = 50, histogram[200] = 30;
  EXPECT_EQ(otsu_bin(histogram), 12u);
  EXPECT_EQ(otsu_bin(std::vector<std::int64_t>(256)), 0u);
  std::vector<std::int64_t> one(256);
  one[77] = 5;
  EXPECT_EQ(otsu_bin(one), 0u);
}

TEST(TissuePresets, HaveClamsPublishedNumbersAndScale) {
  std::vector<std::string> names;
  for (const auto& [name, preset] : tissue_presets()) {
    names.emplace_back(name);
    if (name == "clam") {
      EXPECT_EQ(preset.clam, (ClamOptions{8, 7, 4, false, 100, 16, 8}));
    }
    if (name == "clam_bwh_biopsy") {
      EXPECT_EQ(preset.clam, (ClamOptions{15, 11, 2, false, 1, 1, 2}));
    }
    if (name == "clam_tcga") {
      EXPECT_EQ(preset.clam, (ClamOptions{8, 7, 4, false, 16, 4, 8}));
      EXPECT_EQ(preset_mpp(preset, 0.25), 16);
      EXPECT_EQ(preset_mpp(preset, 0.5), 32);
      EXPECT_EQ(preset_mpp(preset, 0.686), 32);  // no coarser
    }
    if (name == "default" || name == "hest") {
      EXPECT_EQ(preset_mpp(preset, 0.25), 8);
    }
  }
  EXPECT_EQ(names, (std::vector<std::string>{"default", "clam", "clam_bwh_biopsy", "clam_bwh_resection", "clam_tcga",
                                             "hest", "none"}));
}

}  // namespace
}  // namespace vtissue::stages
