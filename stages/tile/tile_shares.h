#pragma once

#include <vector>

#include "io/tile_store.h"
#include "stages/tile/morphology.h"

namespace vtissue::stages {

/// Of each tile of the set the share of its whole area that the mask covers, 0..1. The mask starts at the slide's
/// corner and has tiles.mask_mpp. Mask pixels on a tile's edge count by the part inside. Pure.
std::vector<float> tile_shares(const io::TileSet& tiles, const BinaryImage& mask);

}  // namespace vtissue::stages
