#pragma once

#include <vector>

#include "pipeline/config.h"
#include "stages/tile/slide_tissue.h"

namespace vtissue::stages {

/// The keys of section "tissue".
std::vector<pipeline::ConfigKey> tissue_config_keys();

/// Throws Error kUsage for a key that the preset does not have, and for a median filter of an even side.
TissueOptions tissue_options(const pipeline::Config& config);

}  // namespace vtissue::stages
