#pragma once

#include <string>
#include <vector>

#include "models/kernels/fused.h"
#include "models/kernels/packed_linear.h"
#include "models/stmdit/stmdit.h"
#include "models/torch.h"

namespace vtissue::models {

/// What the conditions of n evaluations contribute, whatever the tokens and the time: computed once. Rows are taken
/// with select().
struct StmditConditions {
  at::Tensor vectors;      ///< [n, depth * D] float32: results of the cross-attentions over one token; else undefined
  at::Tensor context;      ///< [n, S, D] tokens of the morphology's cross-attention, if there are several
  at::Tensor gene_tokens;  ///< [n, K, D] tokens of the separate gene attention, if there are several
  at::Tensor time_shift;   ///< [n, D] float32, added to the time embedding (adaln)
};

/// Shifts, scales and gates of one time step, float32; scales have their 1 added.
struct StmditModulation {
  at::Tensor blocks;  ///< [depth, 1 or n, 6, D]
  at::Tensor last;    ///< [1 or n, 2, D]
};

/// STMDiT for inference: the same network as StmditImpl with what can be done once done once. Weights are packed; the
/// large layers compute in the given dtype; residual sums, norms, time, conditions, patches in and out are float32.
/// Cross-attention over one token is a constant vector per block (models.md 2.4): its two layers become one matrix.
class StmditInference {
 public:
  /// Takes what it needs of the loaded `network`, which may go afterwards. `batch`: evaluations at a time.
  StmditInference(StmditImpl& network, at::ScalarType dtype, const at::Device& device, std::int64_t batch);

  const StmditConfig& config() const { return config_; }

  /// The morphology's part of n conditions, as StmditInput has them; in rows of a fixed number, so that a row does not
  /// depend on the others. `morphology` and `gene` undefined: nulls.
  at::Tensor morphology(const at::Tensor& morphology, const at::Tensor& has_morphology, std::int64_t n) const;
  struct Gene {
    at::Tensor tokens;      ///< [n, K, D] float32, if the variant has them
    at::Tensor time_shift;  ///< [n, D] float32, if it has one
  };
  Gene gene(const at::Tensor& gene, const at::Tensor& has_gene, std::int64_t n) const;

  /// Morphology tokens [n, S, D] and the genes' parts, rows belonging together → what forward() takes.
  StmditConditions conditions(const at::Tensor& morphology, const Gene& gene) const;

  /// t on the network's scale 0..999, the same for all. One row if the conditions do not shift the time.
  StmditModulation modulation(double t, const at::Tensor& time_shift) const;

  /// x [B, C, h, w] float32 → [B, out_channels, h, w] float32.
  at::Tensor forward(const at::Tensor& x, const StmditConditions& conditions, const StmditModulation& modulation) const;

  /// All of it for one batch, with one time step for each evaluation.
  at::Tensor forward(const StmditInput& input) const;

 private:
  struct Block {
    kernels::PackedLinear qkv, out;
    kernels::PackedLinear cross_q, cross_kv, cross_out;
    kernels::PackedLinear gene_q, gene_kv, gene_out;
    at::Tensor gene_gate;  ///< [1, D], tanh applied
    kernels::PackedLinear ff_in, ff_out;
  };

  at::Tensor cross(const kernels::PackedLinear& q, const kernels::PackedLinear& kv, const kernels::PackedLinear& out,
                   const at::Tensor& x, const at::Tensor& context) const;
  at::Tensor position_table_for(std::int64_t rows, std::int64_t columns) const;
  StmditModulation modulation_of(const at::Tensor& t_emb) const;
  bool one_token() const {
    return config_.one_token_shortcut && config_.morphology_tokens == 1 && !config_.concat_attention();
  }
  bool one_gene_token() const {
    return config_.one_token_shortcut && config_.separate_attention() && config_.gene_tokens() == 1;
  }

  StmditConfig config_;
  at::ScalarType dtype_;
  kernels::PackedLinear patch_in_;
  kernels::PackedLinear patch_out_;
  kernels::PackedLinear morphology_vectors_;  ///< all blocks' folded cross-attentions over one token
  kernels::PackedLinear gene_vectors_;
  std::vector<Block> blocks_;
  at::Tensor tables_;       ///< [depth, 1, 6, D], ones added to the scales
  at::Tensor last_table_;   ///< [1, 2, D], likewise
  at::Tensor y_pos_embed_;  ///< of several morphology tokens
  at::Tensor position_table_;
  // Run once a step or once a slide, in float32; forward() of a module is not const.
  mutable AdaLnSingle adaln_single_{nullptr};
  mutable MorphologyProjection caption_projection_{nullptr};
  mutable GenePath ge_{nullptr};
};

}  // namespace vtissue::models
