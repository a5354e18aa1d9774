#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

namespace vtissue::models {

/// Sizes and switches of STMDiT (models.md 1.2.1). With neither `adaln` nor `xattn` it is the PixCell transformer.
struct StmditConfig {
  /// How the gene vectors become the tokens that the blocks see (models.md 1.2.3).
  enum class Pool {
    kCls,   ///< the cls vector alone
    kMean,  ///< the mean of all vectors
    kPma,   ///< pooling by multihead attention with learned seeds
    kNone   ///< every vector is a token
  };
  /// Which attention Pool::kPma pools by.
  enum class PmaForm {
    kOwn,       ///< today's attention, then a feed-forward (models.md 1.2.3)
    kReference  ///< the original Set Transformer's block (models/stmdit/set_transformer.h)
  };
  enum class CrossAttention {
    kSeparate,  ///< an attention of its own after the one to the morphology
    kConcat     ///< gene tokens behind the morphology's in the same attention
  };
  enum class Objective {
    kDdpm,  ///< predicts epsilon
    kFlow   ///< predicts the velocity epsilon - x0
  };

  bool adaln = false;  ///< expression enters through the time embedding
  bool xattn = false;  ///< expression enters through cross-attention
  CrossAttention cross_attention = CrossAttention::kSeparate;
  Pool pool = Pool::kCls;
  Objective objective = Objective::kDdpm;

  int dim = 768;
  int depth = 12;
  int heads = 12;  ///< divides dim
  double mlp_ratio = 4;

  int latent_channels = 16;
  int latent_size = 32;  ///< side of a tile in latents, a multiple of patch
  int patch = 2;
  double interpolation_scale = 0.5;            ///< of the position table (models.md 2.5)
  double condition_interpolation_scale = 0.5;  ///< of the table of several condition tokens
  bool learn_sigma = true;                     ///< twice the channels out; the second half is the variance

  int morphology_dim = 1536;
  int morphology_tokens = 1;  ///< a square number; PixCell-1024 has 16
  int gene_dim = 0;           ///< 0 without expression
  int gene_vectors = 1;       ///< rows of a tile's gene embedding: the cls, then the genes if wanted
  int pma_seeds = 16;
  PmaForm pma_form = PmaForm::kOwn;
  bool gene_gate = false;  ///< tanh gate on the separate gene attention

  /// With one condition token the cross-attention is a constant (models.md 2.4): to_out(to_v(token)). Equal to the full
  /// attention to 1e-5; false computes the full one, whose bits are those of a network that has it.
  bool one_token_shortcut = true;

  bool takes_genes() const { return adaln || xattn; }
  bool separate_attention() const { return xattn && cross_attention == CrossAttention::kSeparate; }
  bool concat_attention() const { return xattn && cross_attention == CrossAttention::kConcat; }
  int out_channels() const { return learn_sigma ? 2 * latent_channels : latent_channels; }
  int mlp_hidden() const { return static_cast<int>(dim * mlp_ratio); }
  /// Gene tokens that the blocks see.
  int gene_tokens() const { return pool == Pool::kPma ? pma_seeds : pool == Pool::kNone ? gene_vectors : 1; }
};

/// Reads our config.json (architecture "stmdit" or "pixcell") or the one of diffusers' PixCellTransformer2DModel
/// (models.md 2.1); keys not known are ignored. Throws Error kModel naming key and value.
StmditConfig parse_stmdit_config(const nlohmann::json& config);

}  // namespace vtissue::models
