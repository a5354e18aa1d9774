#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/units.h"
#include "stages/tile/morphology.h"

namespace vtissue::stages {

/// A picture of a slide, RGB [h, w, 3]; borrowed.
struct RgbView {
  std::span<const std::uint8_t> rgb;
  Size<LevelPx> size;

  const std::uint8_t* at(std::size_t pixel) const { return &rgb[3 * pixel]; }
  std::size_t count() const { return static_cast<std::size_t>(size.area()); }
};

/// Mean of the channels, rounded.
inline int luminance(const std::uint8_t* p) { return (p[0] + p[1] + p[2] + 1) / 3; }

/// A length on the glass in pixels, at least 1.
int radius_px(double micrometres, double mpp);

/// The empty glass of a slide.
struct Glass {
  std::array<double, 3> rgb{};      ///< 0..255
  bool found = false;               ///< false: no empty glass in the picture; a usual white was assumed
  double texture = 0;               ///< median local deviation of log intensity
  BinaryImage black;                ///< parts that were not scanned: black that reaches the picture's edge
  std::vector<std::uint8_t> valid;  ///< [h, w], 1 where not black
};

/// The brightest colour that many smooth, hardly tinted pixels share, and the black border. Pigment and folds inside
/// the tissue are no border. `mpp`: µm per pixel of the picture. Pure; throws std::invalid_argument if rgb does not fit
/// the size or mpp is not positive.
Glass find_glass(const RgbView& picture, double mpp);

/// Optical density (log10) of each channel over the glass by level 0..255, 0 where brighter; a third of it, so that
/// the three add up to their mean.
using DensityTable = std::array<std::array<float, 256>, 3>;
DensityTable density_table(const std::array<double, 3>& glass_rgb);

}  // namespace vtissue::stages
