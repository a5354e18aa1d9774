#pragma once

#include <vector>

#include "pipeline/config.h"
#include "stages/embed/embed_stage.h"

namespace vtissue::stages {

/// The keys of section "embed".
std::vector<pipeline::ConfigKey> embed_config_keys();

/// Sub-tiles and numerics class come from the engines and are the caller's to add.
EmbedOptions embed_options(const pipeline::Config& config);

}  // namespace vtissue::stages
