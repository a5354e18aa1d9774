#pragma once

#include <vector>

#include "pipeline/config.h"
#include "stages/stitch/stitch_stage.h"

namespace vtissue::stages {

/// The keys of section "stitch".
std::vector<pipeline::ConfigKey> stitch_config_keys();

/// Generator, provenance and numerics class are the caller's to add. Throws Error kUsage.
StitchOptions stitch_options(const pipeline::Config& config);

}  // namespace vtissue::stages
