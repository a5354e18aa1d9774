#pragma once

#include <vector>

#include "pipeline/config.h"
#include "stages/evaluate/evaluate_stage.h"

namespace vtissue::stages {

/// The keys of section "evaluate".
std::vector<pipeline::ConfigKey> evaluate_config_keys();

/// The numerics class comes from the device and is the caller's to add.
EvaluateOptions evaluate_options(const pipeline::Config& config);

}  // namespace vtissue::stages
