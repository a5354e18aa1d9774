#include "stages/evaluate/stains.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace vtissue::stages {
namespace {

using Vector = std::array<double, 3>;

Vector cross(const Vector& a, const Vector& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

double dot(const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

Vector unit(Vector v) {
  const double length = std::sqrt(dot(v, v));
  for (double& value : v) value /= length;
  return v;
}

const Vector kHaematoxylin = unit({0.644211, 0.716556, 0.266844});
const Vector kEosin = unit({0.092789, 0.954111, 0.283111});

/// What multiplies a pixel's optical density to give a stain's: a row of the inverse of (haematoxylin, eosin, rest).
Vector weights(const Vector& stain, const Vector& other) {
  const Vector rest = unit(cross(kHaematoxylin, kEosin));
  Vector row = cross(other, rest);
  const double scale = dot(row, stain);
  for (double& value : row) value /= scale;
  return row;
}

}  // namespace

StainDensities separate_stains(std::span<const std::uint8_t> rgb) {
  static const auto density_of = [] {
    std::array<double, 256> densities{};
    for (int level = 0; level < 256; ++level) {
      densities[static_cast<std::size_t>(level)] = -std::log10(std::max(level, 1) / 255.0);
    }
    return densities;
  }();
  static const Vector haematoxylin = weights(kHaematoxylin, kEosin), eosin = weights(kEosin, kHaematoxylin);
  StainDensities result;
  const std::size_t pixels = rgb.size() / 3;
  result.haematoxylin.resize(pixels);
  result.eosin.resize(pixels);
  for (std::size_t i = 0; i < pixels; ++i) {
    const Vector density{density_of[rgb[3 * i]], density_of[rgb[3 * i + 1]], density_of[rgb[3 * i + 2]]};
    result.haematoxylin[i] = static_cast<float>(std::max(0.0, dot(density, haematoxylin)));
    result.eosin[i] = static_cast<float>(std::max(0.0, dot(density, eosin)));
  }
  return result;
}

}  // namespace vtissue::stages
