#include "models/cancerfoundation/cancerfoundation.h"

#include <torch/nn/init.h>
#include <cmath>

#include "models/checkpoint/name_map.h"
#include "models/json_value.h"

namespace vtissue::models {
namespace {

namespace nn = torch::nn;

constexpr double kCfNormEps = 1e-5;

nn::LayerNorm cf_norm(int dim) { return nn::LayerNorm(nn::LayerNormOptions({dim}).eps(kCfNormEps)); }

/// A size under our name or the published one.
int size_of(const nlohmann::json& config, const std::string& ours, const std::string& published, int fallback) {
  return json_int(config, config.contains(ours) ? ours : published, 1, 1 << 16, fallback);
}

}  // namespace

CancerFoundationConfig parse_cancerfoundation_config(const nlohmann::json& config, int vocabulary) {
  CancerFoundationConfig c;
  c.vocabulary = vocabulary;
  c.dim = size_of(config, "dim", "embsize", c.dim);
  c.layers = size_of(config, "layers", "nlayers", c.layers);
  c.heads = size_of(config, "heads", "nheads", c.heads);
  c.ff = size_of(config, "ff", "d_hid", c.ff);
  c.dropout = json_double(config, "dropout", 0, 0.99, c.dropout);
  if (c.dim % c.heads != 0) throw Error(ErrorCode::kModel, "config: dim {} is no multiple of {} heads", c.dim, c.heads);
  return c;
}

CfGeneEncoderImpl::CfGeneEncoderImpl(const CancerFoundationConfig& config)
    : embedding_(register_module(
          "embedding", nn::Embedding(nn::EmbeddingOptions(config.vocabulary, config.dim).padding_idx(config.pad_id)))),
      enc_norm_(register_module("enc_norm", cf_norm(config.dim))) {}

at::Tensor CfGeneEncoderImpl::forward(const at::Tensor& ids) { return enc_norm_(embedding_(ids)); }

CfValueEncoderImpl::CfValueEncoderImpl(const CancerFoundationConfig& config)
    : max_value_(config.max_value),
      linear1_(register_module("linear1", nn::Linear(1, config.dim))),
      linear2_(register_module("linear2", nn::Linear(config.dim, config.dim))),
      norm_(register_module("norm", cf_norm(config.dim))),
      dropout_(register_module("dropout", nn::Dropout(config.dropout))) {}

at::Tensor CfValueEncoderImpl::forward(const at::Tensor& values) {
  const at::Tensor x = at::clamp_max(values.unsqueeze(-1), max_value_);
  return dropout_(norm_(linear2_(at::relu(linear1_(x)))));
}

CfAttentionImpl::CfAttentionImpl(const CancerFoundationConfig& config)
    : heads_(config.heads),
      dropout_(config.dropout),
      in_proj_weight_(register_parameter("in_proj_weight", at::empty({3 * config.dim, config.dim}))),
      in_proj_bias_(register_parameter("in_proj_bias", at::zeros({3 * config.dim}))),
      out_proj_(register_module("out_proj", nn::Linear(config.dim, config.dim))) {
  nn::init::xavier_uniform_(in_proj_weight_);
  nn::init::zeros_(out_proj_->bias);
}

at::Tensor CfAttentionImpl::forward(const at::Tensor& x, const at::Tensor& mask) {
  const std::int64_t batch = x.size(0);
  const std::int64_t length = x.size(1);
  const std::int64_t dim = x.size(2);
  const at::Tensor qkv = at::linear(x, in_proj_weight_, in_proj_bias_)
                             .view({batch, length, 3, heads_, dim / heads_})
                             .permute({2, 0, 3, 1, 4});
  const at::Tensor mixed = at::scaled_dot_product_attention(
      qkv[0], qkv[1], qkv[2], mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt,
      is_training() ? dropout_ : 0.0);
  return out_proj_(mixed.transpose(1, 2).reshape({batch, length, dim}));
}

CfLayerImpl::CfLayerImpl(const CancerFoundationConfig& config)
    : self_attn_(register_module("self_attn", CfAttention(config))),
      linear1_(register_module("linear1", nn::Linear(config.dim, config.ff))),
      linear2_(register_module("linear2", nn::Linear(config.ff, config.dim))),
      norm1_(register_module("norm1", cf_norm(config.dim))),
      norm2_(register_module("norm2", cf_norm(config.dim))),
      dropout_(register_module("dropout", nn::Dropout(config.dropout))) {}

at::Tensor CfLayerImpl::forward(const at::Tensor& x, const at::Tensor& mask) {
  const at::Tensor y = norm1_(x + dropout_(self_attn_(x, mask)));
  return norm2_(y + dropout_(linear2_(dropout_(at::relu(linear1_(y))))));
}

CfEncoderImpl::CfEncoderImpl(const CancerFoundationConfig& config) {
  register_module("layers", layers_);
  for (int i = 0; i < config.layers; ++i) layers_->push_back(CfLayer(config));
}

at::Tensor CfEncoderImpl::forward(at::Tensor x, const at::Tensor& mask) {
  for (const auto& layer : *layers_) x = layer->as<CfLayer>()->forward(x, mask);
  return x;
}

CancerFoundationImpl::CancerFoundationImpl(const CancerFoundationConfig& config)
    : config_(config),
      gene_encoder_(register_module("gene_encoder", CfGeneEncoder(config))),
      value_encoder_(register_module("value_encoder", CfValueEncoder(config))),
      encoder_(register_module("encoder", CfEncoder(config))) {}

at::Tensor CancerFoundationImpl::forward(const at::Tensor& ids, const at::Tensor& values, bool padded) {
  at::Tensor mask;
  if (padded) mask = ids.ne(config_.pad_id).unsqueeze(1).unsqueeze(1);
  return encoder_(gene_encoder_(ids) + value_encoder_(values), mask);
}

LoadRules cancerfoundation_load_rules(const StateDict& weights) {
  static const NameMap kNested(
      std::vector<NameRule>{{"encoder.layers.*.self_attn.", "encoder.layers.*.self_attn.self_attn."}});
  LoadRules rules;
  if (weights.contains("encoder.layers.0.self_attn.self_attn.in_proj_weight")) rules = kNested.load_rules();
  // Heads for training: whatever is not part of the encoder.
  rules.may_ignore = [](const std::string& name) {
    return !name.starts_with("gene_encoder.") && !name.starts_with("value_encoder.") && !name.starts_with("encoder.");
  };
  return rules;
}

}  // namespace vtissue::models
