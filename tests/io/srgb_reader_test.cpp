// Pixels converted by a slide's ICC profile.

#include "io/srgb_reader.h"

#include <gmock/gmock.h>
#include <vips/vips.h>

#include <array>
#include <cmath>

#include "core/error.h"
#include "io/icc_profile.h"
#include "io/slide_reader.h"
#include "tests/support/synthetic_slide.h"
#include "tests/support/temp_folder.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::TempFolder;

/// Display P3, which libvips has built in.
std::vector<std::byte> p3_profile() {
  VipsBlob* blob = nullptr;
  if (vips_profile_load("p3", &blob, nullptr) != 0 || blob == nullptr) return {};
  std::size_t bytes = 0;
  const auto* const data = static_cast<const std::byte*>(vips_blob_get(blob, &bytes));
  std::vector<std::byte> profile(data, data + bytes);
  vips_area_unref(VIPS_AREA(blob));
  return profile;
}

void write_with_profile(const fs::path& path, const RgbImage& picture, std::vector<std::byte> profile) {
  PyramidOptions options;
  options.mpp = 0.5;
  options.codec = PyramidCodec::kDeflate;
  options.icc_profile = std::move(profile);
  testing::write_slide(path, picture, options);
}

std::vector<std::uint8_t> read(const SlideReader& slide, Point<Level0Px> origin, Size<LevelPx> size) {
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(size.area()) * 3);
  slide.read(0, origin, size, rgb);
  return rgb;
}

/// P3 to sRGB by the standards' primaries, which share white point and curve.
std::array<double, 3> p3_to_srgb(const std::uint8_t* p) {
  const auto linear = [](double v) { return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4); };
  const auto curve = [](double v) { return v <= 0.0031308 ? v * 12.92 : 1.055 * std::pow(v, 1 / 2.4) - 0.055; };
  const double r = linear(p[0] / 255.0), g = linear(p[1] / 255.0), b = linear(p[2] / 255.0);
  const std::array<double, 3> mixed{1.2249 * r - 0.2247 * g, -0.0420 * r + 1.0419 * g,
                                    -0.0197 * r - 0.0786 * g + 1.0979 * b};
  std::array<double, 3> out{};
  for (std::size_t c = 0; c < 3; ++c) out[c] = 255 * curve(std::clamp(mixed[c], 0.0, 1.0));
  return out;
}

TEST(SrgbReader, ConvertsByTheProfileWhereAskedTo) {
  const std::vector<std::byte> profile = p3_profile();
  if (profile.empty()) GTEST_SKIP() << "this libvips has no built-in P3 profile";
  const TempFolder folder;
  const RgbImage picture = testing::tissue_picture({300, 200}, 0.5);
  write_with_profile(folder / "a.svs", picture, profile);
  const auto plain = SlideReader::open(folder / "a.svs");
  EXPECT_EQ(plain->info().icc_profile.size(), profile.size());
  EXPECT_EQ(read(*plain, {0, 0}, {300, 200}), picture.rgb);
  EXPECT_FALSE(plain->info().converted_to_srgb);

  const auto slide = SlideReader::open(folder / "a.svs", {.to_srgb = true});
  EXPECT_TRUE(slide->info().converted_to_srgb);
  EXPECT_TRUE(slide->info().icc_profile.empty());
  const std::vector<std::uint8_t> seen = read(*slide, {0, 0}, {300, 200});
  double moved = 0;
  for (std::size_t i = 0; i < seen.size(); i += 3) {
    const std::array<double, 3> expected = p3_to_srgb(&picture.rgb[i]);
    for (std::size_t c = 0; c < 3; ++c) {
      ASSERT_NEAR(seen[i + c], expected[c], 2.0) << i;
      moved = std::max(moved, std::abs(seen[i + c] - static_cast<double>(picture.rgb[i + c])));
    }
  }
  EXPECT_GT(moved, 5) << "the conversion did nothing";
}

TEST(SrgbReader, PixelsDoNotDependOnTheirBoxAndOutsideIsWhite) {
  const std::vector<std::byte> profile = p3_profile();
  if (profile.empty()) GTEST_SKIP() << "this libvips has no built-in P3 profile";
  const TempFolder folder;
  write_with_profile(folder / "a.svs", testing::noise_picture({200, 150}), profile);
  const auto slide = SlideReader::open(folder / "a.svs", {.to_srgb = true});
  const std::vector<std::uint8_t> whole = read(*slide, {0, 0}, {200, 150});
  const std::vector<std::uint8_t> part = read(*slide, {180, 140}, {40, 30});
  for (std::int64_t y = 0; y < 30; ++y) {
    for (std::int64_t x = 0; x < 40; ++x) {
      const bool inside = 180 + x < 200 && 140 + y < 150;
      ASSERT_EQ(part[static_cast<std::size_t>((y * 40 + x) * 3)],
                inside ? whole[static_cast<std::size_t>(((140 + y) * 200 + 180 + x) * 3)] : 255);
    }
  }
  EXPECT_THAT(read(*slide, {500, 500}, {4, 4}), ::testing::Each(255));
}

TEST(SrgbReader, SrgbStaysAndASlideWithoutProfileToo) {
  const TempFolder folder;
  const RgbImage picture = testing::tissue_picture({200, 150}, 0.5);
  write_with_profile(folder / "a.svs", picture, read_icc_profile("srgb"));
  const std::vector<std::uint8_t> seen =
      read(*SlideReader::open(folder / "a.svs", {.to_srgb = true}), {0, 0}, {200, 150});
  for (std::size_t i = 0; i < seen.size(); ++i) ASSERT_NEAR(seen[i], picture.rgb[i], 1);
  write_with_profile(folder / "b.svs", picture, {});
  const auto without = SlideReader::open(folder / "b.svs", {.to_srgb = true});
  EXPECT_FALSE(without->info().converted_to_srgb);
  EXPECT_EQ(read(*without, {0, 0}, {200, 150}), picture.rgb);
}

TEST(SrgbReader, ADamagedProfileIsNamedWhenTheSlideIsOpened) {
  const TempFolder folder;
  std::vector<std::byte> damaged = read_icc_profile("srgb");
  std::fill(damaged.begin() + 128, damaged.end(), std::byte{0xff});
  write_with_profile(folder / "a.svs", testing::noise_picture({64, 64}), damaged);
  EXPECT_NO_THROW(SlideReader::open(folder / "a.svs"));
  try {
    SlideReader::open(folder / "a.svs", {.to_srgb = true});
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_THAT(e.what(), HasSubstr("tile.icc = ignore"));
  }
}

}  // namespace
}  // namespace vtissue::io
