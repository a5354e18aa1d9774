#pragma once

#include "models/stmdit/config.h"
#include "models/stmdit/set_transformer.h"
#include "models/torch.h"

namespace vtissue::models {

/// Pooling by multihead attention over gene tokens (models.md 1.2.3, step 2).
class GenePmaImpl : public torch::nn::Module {
 public:
  GenePmaImpl(int dim, int heads, int seeds);
  at::Tensor forward(const at::Tensor& tokens);  ///< [B, N, D] → [B, K, D]
  at::Tensor& seeds() { return seeds_; }         ///< [1, K, D]

 private:
  int heads_;
  at::Tensor seeds_;
  torch::nn::Linear q_;
  torch::nn::Linear k_;
  torch::nn::Linear v_;
  torch::nn::Linear o_;
  torch::nn::LayerNorm norm1_;
  torch::nn::LayerNorm norm2_;
  torch::nn::Linear ff_in_;
  torch::nn::Linear ff_out_;
};
TORCH_MODULE(GenePma);

/// What expression adds to PixCell besides the attentions in the blocks: parameters ge.* (models.md 1.2.3). Holds only
/// what the variant uses.
class GenePathImpl : public torch::nn::Module {
 public:
  explicit GenePathImpl(const StmditConfig& config);

  /// gene [B, vectors, g_dim] un-normalised, has_gene [B] bool → tokens [B, K, D]; the null tokens where has_gene is
  /// false. Only with xattn.
  at::Tensor tokens(const at::Tensor& gene, const at::Tensor& has_gene);

  /// The same → what is added to the time embedding [B, D], from the L2-normalised cls or the null vector. Only with
  /// adaln.
  at::Tensor time_shift(const at::Tensor& gene, const at::Tensor& has_gene);

  /// What no rule for linear layers covers: seeds, null tokens, null vector; zeroes the adaLN's last layer.
  void initialize(at::Generator generator);

 private:
  StmditConfig::Pool pool_;
  int token_count_;
  torch::nn::LayerNorm in_norm_{nullptr};
  torch::nn::Linear in_proj_{nullptr};
  GenePma pma_{nullptr};
  SetPooling reference_pma_{nullptr};  // registered as "pma" too: one or the other
  at::Tensor null_tokens_;             // [1, K, D]; [1, 1, D] for Pool::kNone
  torch::nn::Linear adaln_in_{nullptr};
  torch::nn::Linear adaln_out_{nullptr};
  at::Tensor null_vec_;  // [1, g_dim]
};
TORCH_MODULE(GenePath);

}  // namespace vtissue::models
