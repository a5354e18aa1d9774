#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "models/checkpoint/name_map.h"
#include "models/torch.h"

namespace vtissue::models {

/// Sizes of a tiny autoencoder of the TAESD family (models.md 3.5). Four resolutions, a factor of 8.
struct TaesdConfig {
  int latent_channels = 16;
  int width = 64;                                 ///< channels of every hidden layer
  std::array<int, 4> encoder_blocks{1, 3, 3, 3};  ///< blocks at 1, 1/2, 1/4 and 1/8 of the resolution
  std::array<int, 4> decoder_blocks{3, 3, 3, 1};  ///< blocks at 1/8, 1/4, 1/2 and 1 of the resolution
  bool pooled_mid = false;                        ///< FLUX.2's normalised side path in the blocks at 1/8
};

/// Reads our config.json's keys: latent_channels, width, encoder_blocks, decoder_blocks, pooled_mid; or those of
/// diffusers' AutoencoderTiny. Throws Error kModel for a value out of range or of the wrong type, and for an
/// AutoencoderTiny of another build.
TaesdConfig parse_taesd_config(const nlohmann::json& config);

/// Three convolutions and a skip; with `pooled` a normalised 1x1 side path is added to the input first.
class TaesdBlockImpl : public torch::nn::Module {
 public:
  TaesdBlockImpl(int width, bool pooled);
  at::Tensor forward(at::Tensor x);  ///< [B, width, h, w], shape kept

 private:
  torch::nn::Sequential conv_;
  torch::nn::Sequential pool_{nullptr};
};
TORCH_MODULE(TaesdBlock);

/// Encoder and decoder; parameters are called "encoder.<index>…" and "decoder.<index>…" with the indices of the
/// original files. Images are in [0, 1]; latents need no scale or shift.
class TaesdImpl : public torch::nn::Module {
 public:
  static constexpr int kFactor = 8;  ///< pixels per latent

  explicit TaesdImpl(const TaesdConfig& config);

  const TaesdConfig& config() const { return config_; }

  at::Tensor encode(const at::Tensor& image);   ///< [B, 3, H, W], H and W multiples of 8 → [B, C, H/8, W/8]
  at::Tensor decode(const at::Tensor& latent);  ///< [B, C, h, w] → [B, 3, 8h, 8w], not clamped

  torch::nn::Sequential encoder;
  torch::nn::Sequential decoder;

 private:
  TaesdConfig config_;
};
TORCH_MODULE(Taesd);

/// What the decoder does first: keeps latents that a sampler overshot within what it saw in training.
at::Tensor taesd_bound_latent(const at::Tensor& latent);

/// Latents as they are stored in 8-bit images: [-3, 3] → [0, 1], clamped (models.md 3.5); and back.
at::Tensor taesd_store_latent(const at::Tensor& raw);
at::Tensor taesd_restore_latent(const at::Tensor& stored);

/// From our names to those of a diffusers AutoencoderTiny file, whose decoder does not count the clamp.
const NameMap& taesd_diffusers_names();

/// Reads either layout, chosen by the names the file has.
LoadRules taesd_load_rules(const StateDict& weights);

}  // namespace vtissue::models
