#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "models/state_dict.h"
#include "models/torch.h"

namespace vtissue::models {

/// Sizes of a CancerFoundation encoder (models.md 5.1, 5.3). Defaults are the published network's.
struct CancerFoundationConfig {
  int vocabulary = 28725;  ///< rows of the gene table, special tokens included
  int dim = 256;
  int layers = 6;
  int heads = 8;
  int ff = 512;
  int pad_id = 1;
  double max_value = 512;  ///< values above are clamped
  double dropout = 0.2;    ///< in training
};

/// Reads our keys (dim, layers, heads, ff) or those of the published args.json (embsize, nlayers, nheads, d_hid);
/// `vocabulary` is the number of tokens. Throws Error kModel for a value out of range.
CancerFoundationConfig parse_cancerfoundation_config(const nlohmann::json& config, int vocabulary);

/// Embedding of gene ids, then LayerNorm.
class CfGeneEncoderImpl : public torch::nn::Module {
 public:
  explicit CfGeneEncoderImpl(const CancerFoundationConfig& config);
  at::Tensor forward(const at::Tensor& ids);  ///< [B, L] int64 → [B, L, D]

 private:
  torch::nn::Embedding embedding_;
  torch::nn::LayerNorm enc_norm_;
};
TORCH_MODULE(CfGeneEncoder);

/// Embedding of a binned value by a small network.
class CfValueEncoderImpl : public torch::nn::Module {
 public:
  explicit CfValueEncoderImpl(const CancerFoundationConfig& config);
  at::Tensor forward(const at::Tensor& values);  ///< [B, L] → [B, L, D]

 private:
  double max_value_;
  torch::nn::Linear linear1_;
  torch::nn::Linear linear2_;
  torch::nn::LayerNorm norm_;
  torch::nn::Dropout dropout_;
};
TORCH_MODULE(CfValueEncoder);

/// Self-attention with PyTorch's packed names (in_proj_weight, out_proj.weight).
class CfAttentionImpl : public torch::nn::Module {
 public:
  explicit CfAttentionImpl(const CancerFoundationConfig& config);
  /// x [B, L, D]; mask [B, 1, 1, L], true where attended, or undefined.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& mask);

 private:
  int heads_;
  double dropout_;
  at::Tensor in_proj_weight_;
  at::Tensor in_proj_bias_;
  torch::nn::Linear out_proj_;
};
TORCH_MODULE(CfAttention);

/// Post-norm layer with ReLU.
class CfLayerImpl : public torch::nn::Module {
 public:
  explicit CfLayerImpl(const CancerFoundationConfig& config);
  at::Tensor forward(const at::Tensor& x, const at::Tensor& mask);

 private:
  CfAttention self_attn_;
  torch::nn::Linear linear1_;
  torch::nn::Linear linear2_;
  torch::nn::LayerNorm norm1_;
  torch::nn::LayerNorm norm2_;
  torch::nn::Dropout dropout_;
};
TORCH_MODULE(CfLayer);

/// The stack of layers, "encoder.layers.<i>".
class CfEncoderImpl : public torch::nn::Module {
 public:
  explicit CfEncoderImpl(const CancerFoundationConfig& config);
  at::Tensor forward(at::Tensor x, const at::Tensor& mask);

 private:
  torch::nn::ModuleList layers_;
};
TORCH_MODULE(CfEncoder);

/// A set of (gene, binned value) pairs → hidden states; row 0 is <cls> (models.md 5.5).
class CancerFoundationImpl : public torch::nn::Module {
 public:
  explicit CancerFoundationImpl(const CancerFoundationConfig& config);

  const CancerFoundationConfig& config() const { return config_; }

  /// ids [B, L] int64, values [B, L] float32 (cls: -2; else 0..bins-1) → [B, L, D]. Rows with id pad_id are not
  /// attended, and their output has no meaning; `padded` false says there are none, which spares the mask.
  at::Tensor forward(const at::Tensor& ids, const at::Tensor& values, bool padded = true);

 private:
  CancerFoundationConfig config_;
  CfGeneEncoder gene_encoder_;
  CfValueEncoder value_encoder_;
  CfEncoder encoder_;
};
TORCH_MODULE(CancerFoundation);

/// Reads the published layout, where attention may lie one level deeper ("self_attn.self_attn.") and heads for
/// training lie beside the encoder.
LoadRules cancerfoundation_load_rules(const StateDict& weights);

}  // namespace vtissue::models
