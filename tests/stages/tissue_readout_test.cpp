#include "stages/evaluate/tissue_readout.h"

#include <gtest/gtest.h>

#include <cmath>

namespace vtissue::stages {
namespace {

constexpr int kSide = 64;
constexpr double kMpp = 0.5;

/// Eosin with `count` round nuclei of `radius` µm on a grid.
std::vector<std::uint8_t> tile(int count, double radius, double strength = 1) {
  std::vector<std::uint8_t> rgb;
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      double nearest = 1e9;
      for (int i = 0; i < count; ++i) {
        nearest = std::min(nearest, std::hypot(x - (8 + 16 * (i % 4)), y - (8 + 16 * (i / 4))));
      }
      const bool inside = nearest * kMpp < radius;
      const double shade = inside ? 1 - 0.6 * strength : 1;
      rgb.insert(rgb.end(), {static_cast<std::uint8_t>(235 * shade), static_cast<std::uint8_t>(170 * shade),
                             static_cast<std::uint8_t>(205 * std::sqrt(shade))});
    }
  }
  return rgb;
}

std::vector<std::vector<std::uint8_t>> samples() { return {tile(8, 3), tile(2, 3), tile(0, 3), tile(12, 3)}; }

TEST(TissueReadout, CountsNucleiOfATile) {
  const TissueReader reader(kMpp, kSide, samples());
  EXPECT_GT(reader.threshold(), 0.1);
  for (const int count : {0, 3, 11}) EXPECT_EQ(reader.read(tile(count, 3)).nuclei, static_cast<float>(count));
  EXPECT_GT(reader.read(tile(11, 3)).haematoxylin, reader.read(tile(1, 3)).haematoxylin);
  // One threshold for all: what is pale has lost its nuclei.
  EXPECT_EQ(reader.read(tile(11, 3, 0.2)).nuclei, 0);
}

TEST(TissueReadout, GlassHasNoNuclei) {
  const std::vector<std::uint8_t> glass(3 * kSide * kSide, 240);
  const TissueReader reader(kMpp, kSide, std::vector<std::vector<std::uint8_t>>{glass});
  EXPECT_EQ(reader.threshold(), 0.1);
  EXPECT_EQ(reader.read(glass).nuclei, 0);
}

TEST(TissueReadout, IsStoredAndTakenBack) {
  const TileReadout readout = TissueReader(kMpp, kSide, samples()).read(tile(7, 3));
  std::vector<float> values;
  readout.append_to(values);
  ASSERT_EQ(values.size(), TileReadout::kValues);
  const TileReadout back = TileReadout::from(values);
  EXPECT_EQ(back.nuclei, 7);
  EXPECT_EQ(back.eosin, readout.eosin);
  EXPECT_EQ(back.areas, readout.areas);
  EXPECT_EQ(back.elongations, readout.elongations);
  EXPECT_THROW((void)TileReadout::from(std::span(values).first(5)), std::invalid_argument);
}

TEST(TissueReadout, ReportsHowCountsGoTogether) {
  const TissueReader reader(kMpp, kSide, samples());
  std::vector<TileReadout> real, same, other, none;
  for (const int count : {1, 5, 9, 3, 12}) {
    real.push_back(reader.read(tile(count, 3)));
    same.push_back(reader.read(tile(count, 3)));
    other.push_back(reader.read(tile(13 - count, 2.2)));
    none.push_back(reader.read(tile(0, 3)));
  }
  const nlohmann::json equal = readout_report(real, same, reader.threshold());
  EXPECT_NEAR(equal["nuclei_per_tile"]["pearson"].get<double>(), 1, 1e-12);
  EXPECT_NEAR(equal["nuclear_area_overlap"].get<double>(), 1, 1e-12);
  EXPECT_EQ(equal["nuclei_per_tile"]["real"], 6);
  const nlohmann::json opposite = readout_report(real, other, reader.threshold());
  EXPECT_LT(opposite["nuclei_per_tile"]["pearson"].get<double>(), -0.9);
  EXPECT_EQ(opposite["nuclear_area_overlap"], 0);
  EXPECT_GT(opposite["nuclear_elongation_overlap"].get<double>(), 0.8);
  const nlohmann::json empty = readout_report(real, none, reader.threshold());
  EXPECT_TRUE(empty["nuclear_area_overlap"].is_null());
  EXPECT_EQ(empty["nuclei_per_tile"]["pearson"], 0);
  EXPECT_TRUE(
      readout_report(std::span(real).first(2), std::span(same).first(2), 0.2)["nuclei_per_tile"]["pearson"].is_null());
}

}  // namespace
}  // namespace vtissue::stages
