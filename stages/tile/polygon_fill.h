#pragma once

#include "io/geojson.h"
#include "stages/tile/morphology.h"

namespace vtissue::stages {

/// From a file's coordinates to pixels of a mask: (position - origin) / downsample.
struct MaskFrame {
  double downsample = 1;  ///< level-0 pixels per pixel of the mask
  double origin_x = 0;    ///< the mask's corner in the file's coordinates
  double origin_y = 0;
};

struct FillResult {
  std::int64_t pixels = 0;     ///< whose centre lies in the polygon, in the mask or not yet set there
  bool self_crossing = false;  ///< a ring winds around some pixel more than once
};

/// Sets the pixels whose centres lie in the polygon: inside its outline and in none of its holes. What a ring winds
/// around twice is inside (non-zero rule): freehand outlines cross themselves where they close, and the even-odd rule
/// would cut the overlap out. Time grows with the points and with the rows of the mask that the polygon meets, not with
/// its extent.
FillResult fill_polygon(BinaryImage& mask, const io::GeoPolygon& polygon, const MaskFrame& frame);

}  // namespace vtissue::stages
