#pragma once

#include <memory>

#include "models/engines.h"

/// Test doubles of the networks: the folder name "null" in a configuration. They make the whole line run
/// without weights and nearly without arithmetic; results are deterministic but mean nothing.
namespace vtissue::models {

std::shared_ptr<MorphologyEncoder> make_null_morphology_encoder(
    int dim = 8);  ///< channel means and their grid of 2x2, padded with zeros
std::shared_ptr<ExpressionPredictor>
make_null_expression_predictor();                       ///< 4 genes NULL1..NULL4 from the spot's first features
std::shared_ptr<GeneEncoder> make_null_gene_encoder();  ///< genes NULL1..NULL4; cls = values
std::shared_ptr<Denoiser> make_null_denoiser(int channels = 4,
                                             int latent_size = 16);  ///< velocity that leads to x0 = the first features
                                                                     ///< of the morphology, constant over the tile
std::shared_ptr<Autoencoder> make_null_autoencoder(
    int channels = 4);  ///< latent channels 0..2 as constant colour of 8x8 pixels, [-1, 1] → 0..255

}  // namespace vtissue::models
