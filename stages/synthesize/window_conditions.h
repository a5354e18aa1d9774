#pragma once

#include <span>

#include "core/units.h"
#include "stages/synthesize/tile_conditions.h"
#include "stages/synthesize/tissue_canvas.h"

namespace vtissue::stages {

/// Conditions of windows at any place: the mean of those of the tiles under a window, weighted by the area they share,
/// over the tiles that have one; a window over none of those has none. On a tile it is the tile's own, bit for bit.
/// Thread-safe.
ConditionRows window_conditions(const ConditionSource& source, const TissueCanvas& canvas,
                                std::span<const Point<Latent>> windows);

}  // namespace vtissue::stages
