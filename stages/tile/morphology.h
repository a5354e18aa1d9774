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

/// A 4-connected part of equal pixels.
struct Part {
  std::int64_t pixels = 0;
  std::int64_t marked = 0;  ///< of them, as flip_parts() was given marks
  bool touches_edge = false;
};

/// As flip_components(), several times faster, where counts are enough. Sets each 4-connected part of pixels equal to
/// `value` for which `flip` holds to the other value. `marks` [h, w], 0 or 1; empty: none.
void flip_parts(BinaryImage& image, std::uint8_t value, const std::function<bool(const Part&)>& flip,
                std::span<const std::uint8_t> marks = {});

/// Mean and standard deviation of `values` [h, w] over the pixels with weight 1 in the square of side
/// 2 * radius + 1 around each pixel, in double. Both are 0 where the square has no such pixel.
struct LocalStatistics {
  std::vector<float> mean, deviation;
};
LocalStatistics local_statistics(std::span<const float> values, std::span<const std::uint8_t> weights,
                                 Size<LevelPx> size, int radius);

}  // namespace vtissue::stages
