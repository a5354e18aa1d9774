#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace vtissue::models {

enum class Interpolation { kBilinear, kBicubic };

/// Resamples an RGB image [height, width, 3] to [out_height, out_width, 3] bit for bit as PIL does: antialiased,
/// in fixed point, along rows first (models.md 4.1). Throws Error kUsage for an empty size or an array that does not
/// fit. Thread-safe.
std::vector<std::uint8_t> resize_rgb(std::span<const std::uint8_t> rgb, int height, int width, int out_height,
                                     int out_width, Interpolation interpolation = Interpolation::kBilinear);

/// rgb [pixels, 3] → planes [3, pixels], (value / 255 - mean) / std. Thread-safe.
void normalize_rgb(std::span<const std::uint8_t> rgb, const std::array<float, 3>& mean, const std::array<float, 3>& std,
                   std::span<float> planes);

}  // namespace vtissue::models
