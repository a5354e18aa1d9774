#pragma once

#include "models/taesd/taesd.h"
#include "models/torch.h"

namespace vtissue::models::training {

/// Reduces an autoencoder's latents to fewer, whitened ones. `latents` [n, C, h, w] are the source's on training
/// images: their leading principal components, scaled to variance 1, become the target's channels. The change of
/// basis is folded into the encoder's last convolution; its inverse, fitted by least squares through the decoder's
/// clamp (models.md 3.5), into the decoder's first. All other weights are copied. The configurations may differ in
/// latent_channels alone. Returns the share of the latents' variance that is kept.
double fold_pca(const Taesd& source, const Taesd& target, const at::Tensor& latents);

}  // namespace vtissue::models::training
