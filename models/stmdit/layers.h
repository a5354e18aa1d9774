#pragma once

#include "models/stmdit/config.h"
#include "models/torch.h"

/// Layers of the PixCell transformer; names of parameters are those of diffusers (models.md 2.2).
namespace vtissue::models {

/// LayerNorm over the last dimension without parameters, eps 1e-6.
at::Tensor plain_layer_norm(const at::Tensor& x);

/// Multi-head attention with biases: to_q, to_k, to_v, to_out.0. For self-attention pass x twice.
class DitAttentionImpl : public torch::nn::Module {
 public:
  explicit DitAttentionImpl(int dim, int heads, bool one_token_shortcut = true);
  /// x [B, T, D], context [B, S, D] → [B, T, D]; with the shortcut [B, 1, D] for S = 1: the softmax over one key is 1
  /// for every query, so the result is the same for all of them.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& context);
  torch::nn::Linear out() const { return out_; }

 private:
  int heads_;
  bool one_token_shortcut_;
  torch::nn::Linear to_q_;
  torch::nn::Linear to_k_;
  torch::nn::Linear to_v_;
  torch::nn::Linear out_;
};
TORCH_MODULE(DitAttention);

/// net.0.proj, GELU-tanh, net.2.
class DitFeedForwardImpl : public torch::nn::Module {
 public:
  DitFeedForwardImpl(int dim, int hidden);
  at::Tensor forward(const at::Tensor& x);  ///< [B, T, D], shape kept

 private:
  torch::nn::Linear in_;
  torch::nn::Linear out_;
};
TORCH_MODULE(DitFeedForward);

/// emb.timestep_embedder.linear_1, linear_2 and the modulation `linear` shared by all blocks.
class AdaLnSingleImpl : public torch::nn::Module {
 public:
  explicit AdaLnSingleImpl(int dim);
  at::Tensor embed(const at::Tensor& t);           ///< timesteps [B] → t_emb [B, D]
  at::Tensor modulation(const at::Tensor& t_emb);  ///< [B, D] → [B, 6, D]
  torch::nn::Linear linear() const { return linear_; }
  void initialize_time(at::Generator generator);  ///< normal 0.02 for the timestep's layers

 private:
  torch::nn::Linear linear_1_;
  torch::nn::Linear linear_2_;
  torch::nn::Linear linear_;
};
TORCH_MODULE(AdaLnSingle);

/// linear_1, GELU-tanh, linear_2, and the embedding that stands for a dropped morphology, before its projection.
class MorphologyProjectionImpl : public torch::nn::Module {
 public:
  explicit MorphologyProjectionImpl(const StmditConfig& config);
  at::Tensor forward(const at::Tensor& tokens);  ///< [B, Tc, m_dim] → [B, Tc, D]
  /// [Tc, m_dim], a buffer: drawn once and never trained (models.md 2.6).
  const at::Tensor& uncond_embedding() const { return uncond_embedding_; }

 private:
  torch::nn::Linear linear_1_;
  torch::nn::Linear linear_2_;
  at::Tensor uncond_embedding_;
};
TORCH_MODULE(MorphologyProjection);

}  // namespace vtissue::models
