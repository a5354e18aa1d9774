#pragma once

#include "models/torch.h"

namespace vtissue::models {

/// The attention block of the original Set Transformer (models.md 1.2.3): fc_q, fc_k, fc_v, fc_o and, with layer norms,
/// ln0, ln1. Unlike today's attentions its scores are divided by the square root of the whole width, and the residual
/// is the projected query.
class SetAttentionImpl : public torch::nn::Module {
 public:
  SetAttentionImpl(int query_dim, int key_dim, int dim, int heads, bool layer_norm);
  /// query [B, K, query_dim], key [B, N, key_dim] → [B, K, dim].
  at::Tensor forward(const at::Tensor& query, const at::Tensor& key);
  at::Tensor project_query(const at::Tensor& query) { return fc_q_(query); }

 private:
  int heads_;
  torch::nn::Linear fc_q_;
  torch::nn::Linear fc_k_;
  torch::nn::Linear fc_v_;
  torch::nn::Linear fc_o_;
  torch::nn::LayerNorm ln0_{nullptr};
  torch::nn::LayerNorm ln1_{nullptr};
};
TORCH_MODULE(SetAttention);

/// Pooling: learned seeds attend to the set; S and mab.*.
class SetPoolingImpl : public torch::nn::Module {
 public:
  SetPoolingImpl(int dim, int heads, int seeds, bool layer_norm);
  at::Tensor forward(const at::Tensor& set);  ///< [B, N, dim] → [B, seeds, dim]
  at::Tensor& seeds() { return seeds_; }      ///< [1, seeds, dim]

 private:
  at::Tensor seeds_;
  SetAttention mab_;
};
TORCH_MODULE(SetPooling);

/// Self-attention of a set; mab.*.
class SetSelfAttentionImpl : public torch::nn::Module {
 public:
  SetSelfAttentionImpl(int dim, int heads, bool layer_norm);
  at::Tensor forward(const at::Tensor& set) { return mab_(set, set); }  ///< [B, N, dim], shape kept

 private:
  SetAttention mab_;
};
TORCH_MODULE(SetSelfAttention);

}  // namespace vtissue::models
