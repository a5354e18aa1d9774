#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace vtissue::stages {

/// Densities of the two stains of H&E by pixel, in units of a stain's optical density (base 10) over the three channels
/// together: 1 is a dark nucleus.
struct StainDensities {
  std::vector<float> haematoxylin, eosin;  ///< [pixels], not below 0
};

/// Colour deconvolution with the published vectors of haematoxylin and eosin and the direction perpendicular to both
/// (Ruifrok and Johnston, "Quantification of histochemical staining by color deconvolution", 2001). `rgb` [pixels, 3];
/// glass is 255. Pure.
StainDensities separate_stains(std::span<const std::uint8_t> rgb);

}  // namespace vtissue::stages
