#include "io/resample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <stdexcept>

#include "tests/support/synthetic_slide.h"

namespace vtissue::io {
namespace {

using testing::constant_picture;
using testing::cut;
using testing::noise_picture;

constexpr double kRatios[] = {0.993, 1.0, 1.0000004, 1.004, 1.37, 2.0, 2.8056, 3.0, 7.13, 64.5};

RgbImage resampled(const RgbImage& picture, double ratio, Box<TargetPx> box) {
  RgbImage out{box.size, std::vector<std::uint8_t>(static_cast<std::size_t>(box.size.area()) * 3)};
  const PixelSource source = [&](Box<LevelPx> from, std::span<std::uint8_t> rgb) {
    ASSERT_GE(from.origin.x, 0);
    ASSERT_LE(from.origin.x + from.size.width, picture.size.width);
    ASSERT_LE(from.origin.y + from.size.height, picture.size.height);
    const RgbImage piece = cut(picture, {{from.origin.x, from.origin.y}, {from.size.width, from.size.height}});
    std::copy(piece.rgb.begin(), piece.rgb.end(), rgb.begin());
  };
  area_resample(AreaAxis(ratio, picture.size.width), AreaAxis(ratio, picture.size.height), box, source, out.rgb.data(),
                static_cast<std::size_t>(box.size.width) * 3);
  return out;
}

Size<TargetPx> size_at(Size<TargetPx> size, double ratio) {
  return {static_cast<std::int64_t>(static_cast<double>(size.width) / ratio + 1e-9),
          static_cast<std::int64_t>(static_cast<double>(size.height) / ratio + 1e-9)};
}

TEST(AreaAxis, WeightsAddUpAndCoverTheSource) {
  for (const double ratio : kRatios) {
    const AreaAxis axis(ratio, 1000);
    for (std::int64_t i = 0; static_cast<double>(i + 1) * ratio < 1000; ++i) {
      const auto taps = axis.taps(i);
      EXPECT_EQ(std::accumulate(taps.weights.begin(), taps.weights.end(), std::int64_t{0}), AreaAxis::kUnit);
      EXPECT_GE(taps.first, 0);
      EXPECT_LE(taps.first + static_cast<std::int64_t>(taps.weights.size()), 1000);
    }
  }
}

TEST(AreaAxis, RefusesNonsense) {
  EXPECT_THROW(AreaAxis(0, 10), std::invalid_argument);
  EXPECT_THROW(AreaAxis(std::nan(""), 10), std::invalid_argument);
  EXPECT_THROW(AreaAxis(2, 0), std::invalid_argument);
}

TEST(AreaResample, KeepsAConstant) {
  const RgbImage picture = constant_picture({331, 257}, 201, 3, 254);
  for (const double ratio : kRatios) {
    const Size<TargetPx> size = size_at(picture.size, ratio);
    EXPECT_EQ(resampled(picture, ratio, {{0, 0}, size}).rgb, constant_picture(size, 201, 3, 254).rgb) << ratio;
  }
}

TEST(AreaResample, DoesNotDependOnTheCut) {
  const RgbImage picture = noise_picture({331, 257});
  std::mt19937 random(7);
  for (const double ratio : kRatios) {
    const Size<TargetPx> size = size_at(picture.size, ratio);
    const RgbImage whole = resampled(picture, ratio, {{0, 0}, size});
    for (int i = 0; i < 20; ++i) {
      const auto x = static_cast<std::int64_t>(random() % static_cast<unsigned>(size.width));
      const auto y = static_cast<std::int64_t>(random() % static_cast<unsigned>(size.height));
      const Box<TargetPx> box{{x, y},
                              {1 + static_cast<std::int64_t>(random() % static_cast<unsigned>(size.width - x)),
                               1 + static_cast<std::int64_t>(random() % static_cast<unsigned>(size.height - y))}};
      ASSERT_EQ(resampled(picture, ratio, box).rgb, cut(whole, box).rgb) << ratio;
    }
  }
}

TEST(AreaResample, PiecesOfALargePictureFit) {
  const RgbImage picture = noise_picture({4500, 60});
  const RgbImage whole = resampled(picture, 1.37, {{0, 0}, {3284, 43}});
  const Box<TargetPx> box{{1400, 3}, {300, 20}};  // across the seam of two pieces
  EXPECT_EQ(resampled(picture, 1.37, box).rgb, cut(whole, box).rgb);
}

TEST(AreaResample, IsTheMeanOfTheArea) {
  const RgbImage picture = noise_picture({120, 90});
  for (const double ratio : {1.37, 2.0, 7.13}) {
    const Size<TargetPx> size = size_at(picture.size, ratio);
    const RgbImage out = resampled(picture, ratio, {{0, 0}, size});
    for (std::int64_t y = 0; y < size.height; ++y) {
      for (std::int64_t x = 0; x < size.width; ++x) {
        double sum = 0;
        const auto covered = [&](std::int64_t pixel, std::int64_t output) {
          const double begin = static_cast<double>(output) * ratio, end = begin + ratio;
          return std::max(0.0,
                          std::min(end, static_cast<double>(pixel + 1)) - std::max(begin, static_cast<double>(pixel)));
        };
        for (std::int64_t v = 0; v < picture.size.height; ++v) {
          const double down = covered(v, y);
          if (down == 0) continue;
          for (std::int64_t u = 0; u < picture.size.width; ++u) {
            sum += down * covered(u, x) * picture.rgb[static_cast<std::size_t>(v * picture.size.width + u) * 3];
          }
        }
        const int got = out.rgb[static_cast<std::size_t>(y * size.width + x) * 3];
        ASSERT_NEAR(got, sum / (ratio * ratio), 0.51) << ratio << " " << x << " " << y;
      }
    }
  }
}

TEST(AreaResample, CopiesAtRatioOne) {
  const RgbImage picture = noise_picture({50, 40});
  EXPECT_EQ(resampled(picture, 1 + 5e-7, {{0, 0}, {50, 40}}).rgb, picture.rgb);
}

}  // namespace
}  // namespace vtissue::io
