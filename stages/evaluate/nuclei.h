#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace vtissue::stages {

struct Nucleus {
  double x = 0;  ///< centre, px of the tile
  double y = 0;
  double area_um2 = 0;
  double elongation = 1;  ///< long over short axis of the ellipse with its second moments, at least 1
};

/// Haematoxylin smoothed for find_nuclei(): `density` [side, side] (stains.h). Pure.
std::vector<float> smooth_haematoxylin(std::span<const float> density, int side, double mpp);

/// Nuclei as a person counts them at low magnification, not a trained segmentation: pixels of smoothed haematoxylin
/// above `threshold`, without specks and holes, split where they have a waist by a watershed of the distance to the
/// outside (basins less than 0.6 µm deep are no nuclei of their own). Those of less than 8 and more than 250 µm² are
/// left out; what the tile's edge cuts counts with what is inside. In the order of their first pixels. Pure.
std::vector<Nucleus> find_nuclei(std::span<const float> smoothed, int side, double mpp, double threshold);

}  // namespace vtissue::stages
