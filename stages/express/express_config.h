#pragma once

#include <vector>

#include "pipeline/config.h"
#include "stages/express/express_stage.h"

namespace vtissue::stages {

/// The keys of section "express".
std::vector<pipeline::ConfigKey> express_config_keys();

/// The numerics class comes from the device and is the caller's to add.
ExpressOptions express_options(const pipeline::Config& config);

}  // namespace vtissue::stages
