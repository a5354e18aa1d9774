#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/autoencoder_kl/autoencoder_kl.h"
#include "models/kernels/packed_conv.h"
#include "models/kernels/packed_linear.h"
#include "models/torch.h"

namespace vtissue::models {

/// AutoencoderKlImpl for inference on a processor: weights are transformed and packed once, norm and SiLU are part of
/// the convolution that follows them, doubling is part of its convolution. Products are of the given dtype; maps,
/// norms and sums are float32. A sample's result does not depend on the others.
class AutoencoderKlInference {
 public:
  /// Takes what it needs of the loaded `network`, which may go afterwards.
  AutoencoderKlInference(AutoencoderKlImpl& network, at::ScalarType dtype);

  const AutoencoderKlConfig& config() const { return config_; }

  /// The posterior's mean, as AutoencoderKlImpl::encode(): [B, 3, H, W] → [B, C, h, w], both float32.
  at::Tensor encode(const at::Tensor& image) const;

  /// As AutoencoderKlImpl::decode(): [B, C, h, w] → [B, 3, H, W], both float32.
  at::Tensor decode(const at::Tensor& latent) const;

 private:
  struct Resnet {
    kernels::GroupNorm norm1, norm2;
    kernels::PackedConv3x3 conv1, conv2;
    kernels::PackedConv1x1 shortcut;
  };
  struct Attention {
    kernels::GroupNorm norm;
    kernels::PackedLinear qkv, out;
  };
  struct Middle {
    Resnet first, second;
    std::optional<Attention> attention;
  };
  /// Residual blocks, then a doubling or halving if there is one.
  struct Level {
    std::vector<Resnet> resnets;
    kernels::PackedConv3x3 doubling;
    at::Tensor halving_weight, halving_bias;
  };
  struct Half {
    kernels::PackedConv3x3 conv_in, conv_out;
    Middle middle;
    std::vector<Level> levels;
    kernels::GroupNorm norm_out;
  };
  class Reader;

  kernels::FeatureMap run(const Resnet& block, const kernels::FeatureMap& x) const;
  kernels::FeatureMap run(const Attention& block, const kernels::FeatureMap& x) const;
  kernels::FeatureMap run(const Middle& block, kernels::FeatureMap x) const;
  kernels::FeatureMap run(const Level& block, kernels::FeatureMap x) const;
  at::Tensor encode_map(const at::Tensor& image) const;
  at::Tensor decode_map(const at::Tensor& latent) const;

  AutoencoderKlConfig config_;
  at::ScalarType dtype_;
  Half encoder_, decoder_;
  kernels::PackedConv1x1 quant_, post_quant_;
};

}  // namespace vtissue::models
