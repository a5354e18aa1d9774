#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "models/preprocess.h"
#include "models/state_dict.h"
#include "models/torch.h"

namespace vtissue::models {

/// Sizes of a vision transformer: UNI, UNI2-h, H-optimus-0, Phikon and our own (models.md 4.1 to 4.4).
struct VitConfig {
  enum class Mlp {
    kGelu,   ///< fc2(gelu(fc1(x))), exact GELU
    kSwiGlu  ///< fc1 packs gate and value: fc2(silu(first half) * second half)
  };

  int image_px = 224;  ///< the size the position table is for
  int patch_px = 16;
  int dim = 1024;
  int depth = 24;
  int heads = 16;
  int mlp_hidden = 4096;  ///< rows of fc1; even for kSwiGlu, whose fc2 reads half of them
  Mlp mlp = Mlp::kGelu;
  bool layer_scale = true;
  double layer_scale_init = 1e-5;    ///< for training from scratch
  bool class_token_in_table = true;  ///< the position table has a row for the class token
  int registers = 0;
  double layer_norm_eps = 1e-6;

  Preprocessing preprocessing;
};

/// Reads a config.json: ours (architecture "vit"); one of timm's ("architecture", "model_args", "pretrained_cfg"), as
/// it lies beside UNI, UNI2-h or H-optimus-0; or the one of transformers' ViTModel ("model_type": "vit"), as beside
/// Phikon. Throws Error kModel for an architecture not known, a value out of range, and for anything of the latter two
/// that would change the network and is not computed here.
VitConfig parse_vit_config(const nlohmann::json& config);

/// Reads what transformers' preprocessor_config.json says of resizing and normalisation into `preprocessing`. Throws
/// Error kModel for what is not done here.
void parse_image_processor(const nlohmann::json& config, Preprocessing& preprocessing);

class VitAttentionImpl : public torch::nn::Module {
 public:
  explicit VitAttentionImpl(const VitConfig& config);
  at::Tensor forward(const at::Tensor& x);  ///< [B, N, D], shape kept

 private:
  int heads_;
  torch::nn::Linear qkv_;
  torch::nn::Linear proj_;
};
TORCH_MODULE(VitAttention);

class VitMlpImpl : public torch::nn::Module {
 public:
  explicit VitMlpImpl(const VitConfig& config);
  at::Tensor forward(const at::Tensor& x);  ///< [B, N, D], shape kept

 private:
  VitConfig::Mlp kind_;
  torch::nn::Linear fc1_;
  torch::nn::Linear fc2_;
};
TORCH_MODULE(VitMlp);

/// A learned factor per channel.
class LayerScaleImpl : public torch::nn::Module {
 public:
  LayerScaleImpl(int dim, double init);
  at::Tensor forward(const at::Tensor& x) { return x * gamma_; }

 private:
  at::Tensor gamma_;
};
TORCH_MODULE(LayerScale);

/// Pre-norm block.
class VitBlockImpl : public torch::nn::Module {
 public:
  explicit VitBlockImpl(const VitConfig& config);
  at::Tensor forward(at::Tensor x);  ///< [B, N, D], shape kept

 private:
  torch::nn::LayerNorm norm1_;
  VitAttention attn_;
  LayerScale ls1_{nullptr};
  torch::nn::LayerNorm norm2_;
  VitMlp mlp_;
  LayerScale ls2_{nullptr};
};
TORCH_MODULE(VitBlock);

/// Names of parameters are timm's. Initialised as timm does: truncated normal 0.02, zero biases.
class VitImpl : public torch::nn::Module {
 public:
  explicit VitImpl(const VitConfig& config);

  const VitConfig& config() const { return config_; }

  /// image [B, 3, H, W] normalised, H and W multiples of patch_px → all tokens after the final norm
  /// [B, 1 + registers + patches, D]: class token, registers, patches by row.
  at::Tensor tokens(const at::Tensor& image);

  /// What the first block sees: tokens before any block, with their positions.
  at::Tensor embed(const at::Tensor& image);

  /// The class token of tokens(): [B, D].
  at::Tensor forward(const at::Tensor& image) { return tokens(image).select(1, 0); }

 private:
  at::Tensor position_table(std::int64_t rows, std::int64_t columns) const;

  VitConfig config_;
  at::Tensor cls_token_;
  at::Tensor reg_token_;
  at::Tensor pos_embed_;
  torch::nn::Conv2d proj_{nullptr};
  torch::nn::ModuleList blocks_;
  torch::nn::LayerNorm norm_{nullptr};
};
TORCH_MODULE(Vit);

/// Reads timm's names or those of transformers' ViTModel (models.md 4.4), chosen by the names the file has.
LoadRules vit_load_rules(const StateDict& weights);

}  // namespace vtissue::models
