#pragma once

#include "cli/engines.h"
#include "pipeline/config.h"

namespace vtissue::cli {

/// Checks the networks of a line against each other before anything is computed: encoders against what denoiser
/// and predictor were trained with, latents of denoiser and autoencoder, genes of predictor (where `predicted`)
/// and gene encoder. Throws Error kModel that names both models and the key to change.
void require_models_fit(const pipeline::Config& config, Engines& engines, bool predicted);

}  // namespace vtissue::cli
