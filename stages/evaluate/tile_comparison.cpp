#include "stages/evaluate/tile_comparison.h"

#include <cmath>
#include <cstddef>

namespace vtissue::stages {

TilePixels describe_pixels(std::span<const std::uint8_t> rgb, int side) {
  TilePixels result;
  const auto width = static_cast<std::size_t>(side);
  // Rec. 601 weights in thousandths, so that the sums below are whole numbers.
  const auto luminance = [&](std::size_t x, std::size_t y) {
    const std::uint8_t* p = &rgb[(y * width + x) * 3];
    return 299 * p[0] + 587 * p[1] + 114 * p[2];
  };
  std::array<std::int64_t, 3> sums{};
  double energy = 0;
  for (std::size_t y = 0; y < width; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      for (std::size_t c = 0; c < 3; ++c) sums[c] += rgb[(y * width + x) * 3 + c];
      const int here = luminance(x, y);
      if (x + 1 < width) energy += std::pow(luminance(x + 1, y) - here, 2);
      if (y + 1 < width) energy += std::pow(luminance(x, y + 1) - here, 2);
    }
  }
  const double pixels = static_cast<double>(width * width);
  for (std::size_t c = 0; c < 3; ++c) result.mean_rgb[c] = static_cast<double>(sums[c]) / pixels;
  if (side > 1) result.gradient_energy = energy / 1e6 / (2.0 * static_cast<double>(width * (width - 1)));
  return result;
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double dot = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    dot += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return aa > 0 && bb > 0 ? dot / std::sqrt(aa * bb) : 0;
}

}  // namespace vtissue::stages
