#pragma once

#include <cstdint>

#include "models/stmdit/config.h"
#include "models/stmdit/gene_path.h"
#include "models/stmdit/layers.h"
#include "models/torch.h"

namespace vtissue::models {

/// A batch of B evaluations.
struct StmditInput {
  at::Tensor x;  ///< [B, C, h, w]; h and w are multiples of the patch and may differ from the tile's size
  at::Tensor
      t;  ///< [B], integer or fractional, on the network's scale 0..999; the flow objective's t in 0..1 times 1000
  at::Tensor morphology;      ///< [B, Tc, m_dim] (or [B, m_dim] for Tc = 1); undefined: null for all
  at::Tensor has_morphology;  ///< [B] bool, false: the stored unconditional embedding; undefined: true for all
  at::Tensor gene;            ///< [B, vectors, g_dim], the cls first, un-normalised; undefined: null for all
  at::Tensor has_gene;        ///< [B] bool, false: the learned null; undefined: true for all
};

/// Block of models.md 1.2.4; parameters transformer_blocks.<i>.*.
class StmditBlockImpl : public torch::nn::Module {
 public:
  explicit StmditBlockImpl(const StmditConfig& config);

  /// x [B, T, D], context [B, S, D], gene tokens [B, K, D] (separate attention only, else undefined), modulation [B, 6,
  /// D].
  at::Tensor forward(at::Tensor x, const at::Tensor& context, const at::Tensor& genes, const at::Tensor& modulation);

  void zero_outputs();      ///< zero for what starts as nothing: modulation table, cross-attentions' outputs
  void zero_gene_output();  ///< the same for the gene attention alone

 private:
  at::Tensor scale_shift_table_;
  DitAttention attn1_;
  DitAttention attn2_;
  DitFeedForward ff_;
  DitAttention ge_attn_{nullptr};
  at::Tensor ge_gate_;
};
TORCH_MODULE(StmditBlock);

/// STMDiT; without expression the PixCell transformer (models.md 1.2 and 2.4). Trainable: forward has no in-place
/// operation. With one condition token the cross-attention's to_q and to_k are not used, and get no gradient.
class StmditImpl : public torch::nn::Module {
 public:
  explicit StmditImpl(const StmditConfig& config);

  const StmditConfig& config() const { return config_; }

  /// Weights for training from scratch, as in DiT: Xavier-uniform linears without bias, normal 0.02 timestep layers,
  /// zero modulation, cross-attention and final outputs. Depends on the seed only.
  void initialize(std::uint64_t seed);

  /// Only what expression adds, for training from a PixCell checkpoint; zero where it enters, so that the network still
  /// is PixCell (exactly so in separate mode).
  void initialize_gene_path(std::uint64_t seed);

  /// → [B, out_channels, h, w]: the prediction, then with learn_sigma the variance's channels.
  at::Tensor forward(const StmditInput& input);

 private:
  at::Tensor position_table_for(std::int64_t rows, std::int64_t columns);
  at::Tensor morphology_tokens(const StmditInput& input, std::int64_t batch);
  at::Tensor unpatchify(const at::Tensor& tokens, std::int64_t rows, std::int64_t columns) const;

  StmditConfig config_;
  torch::nn::Conv2d patch_embed_{nullptr};
  AdaLnSingle adaln_single_{nullptr};
  MorphologyProjection caption_projection_{nullptr};
  at::Tensor y_pos_embed_;  // [1, Tc, m_dim], with several condition tokens
  torch::nn::ModuleList blocks_;
  at::Tensor scale_shift_table_;
  torch::nn::Linear proj_out_{nullptr};
  GenePath ge_{nullptr};
  at::Tensor position_table_;  // of the last size seen
  std::int64_t table_rows_ = 0;
  std::int64_t table_columns_ = 0;
};
TORCH_MODULE(Stmdit);

}  // namespace vtissue::models
