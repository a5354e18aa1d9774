#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/state_dict.h"
#include "models/torch.h"

namespace vtissue::models {

/// Sizes of a variational autoencoder as diffusers' AutoencoderKL; the defaults are those of SD3 and SD3.5 (models.md
/// 3.1).
struct AutoencoderKlConfig {
  std::vector<int> channels{128, 256, 512, 512};  ///< by resolution, from the image's down to the latents'
  int layers_per_block = 2;                       ///< residual blocks a resolution; the decoder has one more
  int latent_channels = 16;
  int norm_groups = 32;  ///< divides every entry of channels
  bool mid_attention = true;
  bool quant_conv = false;       ///< 1x1 convolution of the moments, as SD1 and SDXL have
  bool post_quant_conv = false;  ///< 1x1 convolution of the latents before the decoder
  double scaling_factor = 1.5305;
  double shift_factor = 0.0609;

  int factor() const { return 1 << (channels.size() - 1); }  ///< pixels per latent

  at::Tensor to_model(const at::Tensor& latent) const;    ///< (z - shift) · scale: what the diffusion model sees
  at::Tensor from_model(const at::Tensor& latent) const;  ///< the inverse
};

/// Reads the config.json of diffusers' AutoencoderKL. Throws Error kModel for a value out of range, and for another
/// network of the family, which must not load and give wrong tiles.
AutoencoderKlConfig parse_autoencoder_kl_config(const nlohmann::json& config);

/// norm1, SiLU, conv1, norm2, SiLU, conv2; conv_shortcut where the width changes.
class KlResnetImpl : public torch::nn::Module {
 public:
  KlResnetImpl(int in, int out, int groups);
  at::Tensor forward(const at::Tensor& x);  ///< [B, in, h, w] → [B, out, h, w]

 private:
  torch::nn::GroupNorm norm1_;
  torch::nn::Conv2d conv1_;
  torch::nn::GroupNorm norm2_;
  torch::nn::Conv2d conv2_;
  torch::nn::Conv2d conv_shortcut_{nullptr};
};
TORCH_MODULE(KlResnet);

/// Self-attention over all pixels with one head as wide as the map: group_norm, to_q, to_k, to_v, to_out.0.
class KlAttentionImpl : public torch::nn::Module {
 public:
  KlAttentionImpl(int dim, int groups);
  at::Tensor forward(const at::Tensor& x);  ///< [B, dim, h, w], shape kept

 private:
  torch::nn::GroupNorm group_norm_;
  torch::nn::Linear to_q_;
  torch::nn::Linear to_k_;
  torch::nn::Linear to_v_;
  torch::nn::Linear to_out_;
};
TORCH_MODULE(KlAttention);

/// resnets.0, attentions.0, resnets.1.
class KlMidBlockImpl : public torch::nn::Module {
 public:
  explicit KlMidBlockImpl(const AutoencoderKlConfig& config);
  at::Tensor forward(at::Tensor x);

 private:
  torch::nn::ModuleList resnets_;
  torch::nn::ModuleList attentions_;
};
TORCH_MODULE(KlMidBlock);

/// resnets.<j>, then downsamplers.0.conv: pads right and bottom alone, stride 2.
class KlDownBlockImpl : public torch::nn::Module {
 public:
  KlDownBlockImpl(int in, int out, int layers, int groups, bool downsample);
  at::Tensor forward(at::Tensor x);

 private:
  torch::nn::ModuleList resnets_;
  torch::nn::Conv2d downsample_{nullptr};
};
TORCH_MODULE(KlDownBlock);

/// resnets.<j>, then nearest-neighbour doubling and upsamplers.0.conv.
class KlUpBlockImpl : public torch::nn::Module {
 public:
  KlUpBlockImpl(int in, int out, int layers, int groups, bool upsample);
  at::Tensor forward(at::Tensor x);

 private:
  torch::nn::ModuleList resnets_;
  torch::nn::Conv2d upsample_{nullptr};
};
TORCH_MODULE(KlUpBlock);

class KlEncoderImpl : public torch::nn::Module {
 public:
  explicit KlEncoderImpl(const AutoencoderKlConfig& config);
  at::Tensor forward(const at::Tensor& image);  ///< [B, 3, H, W] → moments [B, 2 latent channels, h, w]

 private:
  torch::nn::Conv2d conv_in_{nullptr};
  torch::nn::ModuleList down_blocks_;
  KlMidBlock mid_block_{nullptr};
  torch::nn::GroupNorm conv_norm_out_{nullptr};
  torch::nn::Conv2d conv_out_{nullptr};
};
TORCH_MODULE(KlEncoder);

class KlDecoderImpl : public torch::nn::Module {
 public:
  explicit KlDecoderImpl(const AutoencoderKlConfig& config);
  at::Tensor forward(const at::Tensor& latent);  ///< [B, latent channels, h, w] → [B, 3, H, W]

 private:
  torch::nn::Conv2d conv_in_{nullptr};
  KlMidBlock mid_block_{nullptr};
  torch::nn::ModuleList up_blocks_;
  torch::nn::GroupNorm conv_norm_out_{nullptr};
  torch::nn::Conv2d conv_out_{nullptr};
};
TORCH_MODULE(KlDecoder);

/// What the encoder says of an image: a Gaussian for every latent.
struct KlPosterior {
  at::Tensor mean;          ///< [B, C, h, w]
  at::Tensor log_variance;  ///< the same shape, within [-30, 20]
  at::Tensor std() const;
};

/// AutoencoderKL; names of parameters are those of diffusers (models.md 3.3). Images are in [-1, 1]. Everything
/// here is in the autoencoder's own latents but to_model() and from_model().
class AutoencoderKlImpl : public torch::nn::Module {
 public:
  explicit AutoencoderKlImpl(const AutoencoderKlConfig& config);

  const AutoencoderKlConfig& config() const { return config_; }

  KlPosterior encode(const at::Tensor& image);  ///< H and W multiples of factor()
  at::Tensor decode(const at::Tensor& latent);  ///< not clamped

  at::Tensor to_model(const at::Tensor& latent) const { return config_.to_model(latent); }
  at::Tensor from_model(const at::Tensor& latent) const { return config_.from_model(latent); }

 private:
  AutoencoderKlConfig config_;
  KlEncoder encoder_;
  KlDecoder decoder_;
  torch::nn::Conv2d quant_conv_{nullptr};
  torch::nn::Conv2d post_quant_conv_{nullptr};
};
TORCH_MODULE(AutoencoderKl);

/// Our parameter name → the name in a single-file checkpoint of the original code, without its prefix (models.md 3.3).
/// `resolutions` is the length of AutoencoderKlConfig::channels.
std::string autoencoder_kl_ldm_name(const std::string& name, int resolutions);

/// Reads either layout, chosen by the names the file has; the original's may stand behind "first_stage_model." among
/// the tensors of other networks.
LoadRules autoencoder_kl_load_rules(const StateDict& weights, const AutoencoderKlConfig& config);

}  // namespace vtissue::models
