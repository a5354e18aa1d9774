#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/units.h"

namespace vtissue::stages {

/// A binary picture, [h, w], 0 or 1.
struct BinaryImage {
  Size<LevelPx> size;
  std::vector<std::uint8_t> pixels;
};

/// Dilation by a square of side 2 * radius + 1. Pure, as all here.
BinaryImage dilate(const BinaryImage& image, int radius);

/// Erosion by a square of side 2 * radius + 1; outside the picture counts as set, so that what is cut by
/// the picture's edge keeps its extent.
BinaryImage erode(const BinaryImage& image, int radius);

/// Sets each 4-connected component of pixels equal to `value` for which `flip(pixels, touches_edge)` holds
/// to the other value. `pixels` are indices into the image.
void flip_components(BinaryImage& image, std::uint8_t value,
                     const std::function<bool(std::span<const std::int64_t> pixels, bool touches_edge)>& flip);

/// Mean and standard deviation of `values` [h, w] over the pixels with weight 1 in the square of side
/// 2 * radius + 1 around each pixel, by summed-area tables in double. Where the square has no such
/// pixel, count is 0.
struct LocalStatistics {
  std::vector<float> mean, deviation;
  std::vector<std::int32_t> count;
};
LocalStatistics local_statistics(std::span<const float> values, std::span<const std::uint8_t> weights,
                                 Size<LevelPx> size, int radius);

}  // namespace vtissue::stages
