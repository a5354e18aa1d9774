#pragma once

#include <vector>

#include "pipeline/config.h"
#include "stages/tile/tile_stage.h"

namespace vtissue::stages {

/// The keys of section "tile".
std::vector<pipeline::ConfigKey> tile_config_keys();

/// Throws Error kUsage if a region is not four numbers x,y,w,h with w and h positive.
TileOptions tile_options(const pipeline::Config& config);

}  // namespace vtissue::stages
