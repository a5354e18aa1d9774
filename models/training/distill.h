#pragma once

#include <cstdint>
#include <vector>

#include "models/taesd/taesd.h"
#include "models/torch.h"
#include "models/training/train.h"

namespace vtissue::models::training {

/// The published autoencoder (models.md 3.5, FLUX.2 variant) has normalised side paths in its blocks at 1/8 of the
/// resolution. They read the whole image at once, so a window would be decoded differently from its slide; without them
/// it loses half of its decibels. This trains the target's blocks at 1/8, which have none, to give what the published
/// ones give: the encoder's latents after fold_pca(), and the features that the decoder goes on with. All else stays.
/// Cheap, since nothing at a higher resolution is run but once for the `images` [n, 3, h, w] in [0, 1].
/// Reads "distillation" of the configuration; keeps its state in options.out/distillation, from where it goes on.
void distill_latent_stage(const TrainOptions& options, std::uint64_t seed, const Taesd& published, const Taesd& target,
                          const at::Tensor& images);

/// The weights of the encoder above 1/8 of the resolution.
std::vector<at::Tensor> encoder_entry(const Taesd& model);

}  // namespace vtissue::models::training
