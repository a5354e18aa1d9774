#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace vtissue::stages {

/// What a tile's pixels say by themselves, without a network.
struct TilePixels {
  std::array<double, 3> mean_rgb{};  ///< 0..255
  double gradient_energy = 0;        ///< mean squared difference of neighbouring pixels' luminance, both axes, levels²
};

/// `rgb` [side, side, 3]. Pure.
TilePixels describe_pixels(std::span<const std::uint8_t> rgb, int side);

/// Cosine of the angle between two vectors; 0 if one of them is 0. In double.
double cosine(std::span<const float> a, std::span<const float> b);

}  // namespace vtissue::stages
