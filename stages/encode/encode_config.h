#pragma once

#include <vector>

#include "pipeline/config.h"
#include "stages/encode/encode_stage.h"

namespace vtissue::stages {

/// The keys of section "encode".
std::vector<pipeline::ConfigKey> encode_config_keys();

/// Tokens (the denoiser's wish) and numerics class come from the engines and are the caller's to add.
EncodeOptions encode_options(const pipeline::Config& config);

}  // namespace vtissue::stages
