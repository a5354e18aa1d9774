#pragma once

#include <vector>

#include "pipeline/config.h"
#include "stages/synthesize/synthesize_stage.h"

namespace vtissue::stages {

/// The keys of section "synthesize".
std::vector<pipeline::ConfigKey> synthesize_config_keys();

/// tile_px (from the tile grid) and numerics class are the caller's to add.
SynthesizeOptions synthesize_options(const pipeline::Config& config);

}  // namespace vtissue::stages
