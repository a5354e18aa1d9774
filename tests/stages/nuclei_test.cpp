#include "stages/evaluate/nuclei.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numbers>

#include "stages/evaluate/stains.h"

namespace vtissue::stages {
namespace {

constexpr std::array<double, 3> kH{0.644211, 0.716556, 0.266844}, kE{0.092789, 0.954111, 0.283111};

double length(const std::array<double, 3>& v) { return std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]); }

/// A tile of eosin with nuclei.
class Tile {
 public:
  Tile(int side, double mpp) : side_(side), mpp_(mpp), haematoxylin_(static_cast<std::size_t>(side * side), 0.1) {}

  /// Half axes in µm, centre in px, turned by `angle`; soft over a pixel as a microscope has it.
  void draw(double x, double y, double a_um, double b_um, double angle = 0) {
    for (int j = 0; j < side_; ++j) {
      for (int i = 0; i < side_; ++i) {
        const double dx = (i - x) * mpp_, dy = (j - y) * mpp_;
        const double u = (dx * std::cos(angle) + dy * std::sin(angle)) / a_um,
                     v = (dy * std::cos(angle) - dx * std::sin(angle)) / b_um;
        const double inside = 1 / (1 + std::exp((std::sqrt(u * u + v * v) - 1) * std::min(a_um, b_um) / (0.4 * mpp_)));
        double& value = haematoxylin_[static_cast<std::size_t>(j * side_ + i)];
        value = std::max(value, 0.1 + 0.9 * inside);
      }
    }
  }

  std::vector<std::uint8_t> rgb() const {
    std::vector<std::uint8_t> pixels;
    for (const double haematoxylin : haematoxylin_) {
      for (std::size_t c = 0; c < 3; ++c) {
        const double density = haematoxylin * kH[c] / length(kH) + 0.3 * kE[c] / length(kE);
        pixels.push_back(static_cast<std::uint8_t>(std::lround(255 * std::pow(10, -density))));
      }
    }
    return pixels;
  }

  std::vector<Nucleus> nuclei(double threshold = 0.5) const {
    const StainDensities stains = separate_stains(rgb());
    return find_nuclei(smooth_haematoxylin(stains.haematoxylin, side_, mpp_), side_, mpp_, threshold);
  }

 private:
  int side_;
  double mpp_;
  std::vector<double> haematoxylin_;
};

TEST(Stains, AreSeparated) {
  std::vector<std::uint8_t> pixels;
  std::vector<std::array<double, 2>> mixtures;
  for (const double h : {0.0, 0.3, 0.9}) {
    for (const double e : {0.0, 0.2, 0.6}) {
      mixtures.push_back({h, e});
      for (std::size_t c = 0; c < 3; ++c) {
        pixels.push_back(static_cast<std::uint8_t>(
            std::lround(255 * std::pow(10, -(h * kH[c] / length(kH) + e * kE[c] / length(kE))))));
      }
    }
  }
  const StainDensities stains = separate_stains(pixels);
  for (std::size_t i = 0; i < mixtures.size(); ++i) {
    EXPECT_NEAR(stains.haematoxylin[i], mixtures[i][0], 0.02) << i;
    EXPECT_NEAR(stains.eosin[i], mixtures[i][1], 0.02) << i;
  }
  const StainDensities black = separate_stains(std::vector<std::uint8_t>{0, 0, 0, 255, 255, 255});
  EXPECT_TRUE(std::isfinite(black.haematoxylin[0]));
  EXPECT_EQ(black.haematoxylin[1], 0);
}

class NucleiAt : public testing::TestWithParam<double> {};

TEST_P(NucleiAt, AreCountedAndMeasured) {
  const double mpp = GetParam();
  const int side = static_cast<int>(100 / mpp);
  Tile tile(side, mpp);
  const std::array<double, 3> radii{3, 4, 5.5};
  double expected_area = 0;
  for (int i = 0; i < 9; ++i) {
    const double radius = radii[static_cast<std::size_t>(i % 3)];
    tile.draw((i % 3 + 0.5) * side / 3, (i / 3 + 0.5) * side / 3, radius, radius);
    expected_area += std::numbers::pi * radius * radius;
  }
  const std::vector<Nucleus> nuclei = tile.nuclei();
  ASSERT_EQ(nuclei.size(), 9u);
  double area = 0;
  for (const Nucleus& nucleus : nuclei) {
    area += nucleus.area_um2;
    EXPECT_LT(nucleus.elongation, 1.1);
  }
  EXPECT_NEAR(area, expected_area, 0.12 * expected_area);
}

TEST_P(NucleiAt, ThatTouchAreTwo) {
  const double mpp = GetParam();
  const int side = static_cast<int>(60 / mpp);
  Tile tile(side, mpp);
  tile.draw(side / 2.0 - 3.6 / mpp, side / 2.0, 4, 4);
  tile.draw(side / 2.0 + 3.6 / mpp, side / 2.0, 4, 4);
  EXPECT_EQ(tile.nuclei().size(), 2u);
}

TEST_P(NucleiAt, ASpindleIsOneAndLong) {
  const double mpp = GetParam();
  const int side = static_cast<int>(60 / mpp);
  for (const double angle : {0.0, 0.6, 1.5}) {
    Tile tile(side, mpp);
    tile.draw(side / 2.0, side / 2.0, 9, 3, angle);
    const std::vector<Nucleus> nuclei = tile.nuclei();
    ASSERT_EQ(nuclei.size(), 1u) << angle;
    EXPECT_NEAR(nuclei[0].elongation, 3, 0.5);
    EXPECT_NEAR(nuclei[0].x, side / 2.0, 0.6);
  }
}

INSTANTIATE_TEST_SUITE_P(Mpp, NucleiAt, testing::Values(0.25, 0.5, 0.7),
                         [](const auto& test) { return "um" + std::to_string(static_cast<int>(100 * test.param)); });

TEST(Nuclei, SpecksAreNone) {
  Tile tile(100, 0.5);
  tile.draw(30, 30, 0.8, 0.8);
  EXPECT_TRUE(tile.nuclei().empty());
  tile.draw(70, 70, 4, 4);
  EXPECT_EQ(tile.nuclei().size(), 1u);
}

TEST(Nuclei, TilesOfOneKindHaveNone) {
  EXPECT_TRUE(find_nuclei(std::vector<float>(400, 0.1F), 20, 0.5, 0.3).empty());
  EXPECT_TRUE(find_nuclei(std::vector<float>(400, 0.9F), 20, 0.5, 0.3).empty());
}

TEST(Nuclei, SmoothingKeepsTheMean) {
  std::vector<float> values(900);
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) sum += values[i] = static_cast<float>((i * 37) % 101) / 101;
  double smoothed_sum = 0;
  for (const float value : smooth_haematoxylin(values, 30, 0.5)) smoothed_sum += value;
  EXPECT_NEAR(smoothed_sum, sum, 1e-2 * sum);
}

}  // namespace
}  // namespace vtissue::stages
