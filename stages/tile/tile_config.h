#pragma once

#include <vector>

#include "pipeline/config.h"
#include "stages/tile/tile_stage.h"

namespace vtissue::stages {

/// The keys of section "tile".
std::vector<pipeline::ConfigKey> tile_config_keys();

/// From the sections "tile" and "tissue". Throws Error kUsage if a region is not four numbers x,y,w,h with w and h
/// positive, and as tissue_options().
TileOptions tile_options(const pipeline::Config& config);

}  // namespace vtissue::stages
