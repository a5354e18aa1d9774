#pragma once

#include <vector>

#include "io/geojson.h"
#include "stages/tile/morphology.h"

namespace vtissue::stages {

/// The outlines of a mask's pieces with their holes, along the edges between pixels, in the mask's pixels. Pieces are
/// 4-connected, in order of their first pixels; rings begin at the first pixel's corner, have no points on straight
/// lines and never touch themselves but at corners. Filling them gives the mask back, pixel by pixel. Pure.
std::vector<io::GeoPolygon> tissue_contours(const BinaryImage& mask);

}  // namespace vtissue::stages
