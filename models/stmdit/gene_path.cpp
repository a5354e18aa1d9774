#include "models/stmdit/gene_path.h"

#include <cmath>

namespace vtissue::models {

namespace nn = torch::nn;

namespace {

constexpr double kGeneNormEps = 1e-6;
constexpr int kPmaHeadDim = 64;

nn::LayerNorm gene_norm(int dim) { return nn::LayerNorm(nn::LayerNormOptions({dim}).eps(kGeneNormEps)); }

int pma_heads(const StmditConfig& config) {
  return config.dim % kPmaHeadDim == 0 ? config.dim / kPmaHeadDim : config.heads;
}

}  // namespace

GenePmaImpl::GenePmaImpl(int dim, int heads, int seeds)
    : heads_(heads),
      q_(dim, dim),
      k_(dim, dim),
      v_(dim, dim),
      o_(dim, dim),
      norm1_(gene_norm(dim)),
      norm2_(gene_norm(dim)),
      ff_in_(dim, 4 * dim),
      ff_out_(4 * dim, dim) {
  seeds_ = register_parameter("seeds", at::zeros({1, seeds, dim}));
  const auto attention = register_module("attn", std::make_shared<nn::Module>());
  attention->register_module("q", q_);
  attention->register_module("k", k_);
  attention->register_module("v", v_);
  attention->register_module("o", o_);
  register_module("norm1", norm1_);
  register_module("norm2", norm2_);
  const auto ff = register_module("ff", std::make_shared<nn::Module>());
  ff->register_module("0", ff_in_);
  ff->register_module("2", ff_out_);
}

at::Tensor GenePmaImpl::forward(const at::Tensor& tokens) {
  const auto split = [&](const at::Tensor& h) {
    return h.view({h.size(0), h.size(1), heads_, h.size(2) / heads_}).transpose(1, 2);
  };
  const at::Tensor query = split(q_(seeds_)).expand({tokens.size(0), -1, -1, -1});
  const at::Tensor attended = at::scaled_dot_product_attention(query, split(k_(tokens)), split(v_(tokens)));
  const at::Tensor pooled =
      norm1_(seeds_ + o_(attended.transpose(1, 2).reshape({tokens.size(0), seeds_.size(1), seeds_.size(2)})));
  return norm2_(pooled + ff_out_(at::gelu(ff_in_(pooled), "tanh")));
}

GenePathImpl::GenePathImpl(const StmditConfig& config) : pool_(config.pool), token_count_(config.gene_tokens()) {
  if (config.xattn) {
    in_norm_ = register_module("in_norm", gene_norm(config.gene_dim));
    in_proj_ = register_module("in_proj", nn::Linear(config.gene_dim, config.dim));
    if (pool_ == StmditConfig::Pool::kPma && config.pma_form == StmditConfig::PmaForm::kReference) {
      reference_pma_ =
          register_module("pma", SetPooling(config.dim, pma_heads(config), config.pma_seeds, /*layer_norm=*/true));
    } else if (pool_ == StmditConfig::Pool::kPma) {
      pma_ = register_module("pma", GenePma(config.dim, pma_heads(config), config.pma_seeds));
    }
    const int null_rows = pool_ == StmditConfig::Pool::kNone ? 1 : token_count_;
    null_tokens_ = register_parameter("null_tokens", at::zeros({1, null_rows, config.dim}));
  }
  if (config.adaln) {
    const auto adaln = register_module("adaln", std::make_shared<nn::Module>());
    adaln_in_ = adaln->register_module("0", nn::Linear(config.gene_dim, config.dim));
    adaln_out_ = adaln->register_module("2", nn::Linear(config.dim, config.dim));
    null_vec_ = register_parameter("null_vec", at::zeros({1, config.gene_dim}));
  }
}

at::Tensor GenePathImpl::tokens(const at::Tensor& gene, const at::Tensor& has_gene) {
  const bool cls_only = pool_ == StmditConfig::Pool::kCls;
  at::Tensor tokens = in_proj_(in_norm_(cls_only ? gene.slice(1, 0, 1) : gene));
  if (pool_ == StmditConfig::Pool::kMean) tokens = tokens.mean(1, /*keepdim=*/true);
  if (!pma_.is_empty()) tokens = pma_(tokens);
  if (!reference_pma_.is_empty()) tokens = reference_pma_(tokens);
  return at::where(has_gene.view({-1, 1, 1}), tokens, null_tokens_);
}

at::Tensor GenePathImpl::time_shift(const at::Tensor& gene, const at::Tensor& has_gene) {
  const at::Tensor cls =
      nn::functional::normalize(gene.select(1, 0), nn::functional::NormalizeFuncOptions().p(2).dim(1));
  const at::Tensor vec = at::where(has_gene.view({-1, 1}), cls, null_vec_);
  return adaln_out_(at::silu(adaln_in_(vec)));
}

void GenePathImpl::initialize(at::Generator generator) {
  const at::NoGradGuard no_grad;
  if (null_tokens_.defined()) null_tokens_.normal_(0, 0.02, generator);
  for (at::Tensor* seeds :
       {pma_.is_empty() ? nullptr : &pma_->seeds(), reference_pma_.is_empty() ? nullptr : &reference_pma_->seeds()}) {
    if (seeds == nullptr) continue;
    const double bound = std::sqrt(6.0 / static_cast<double>(seeds->size(1) + seeds->size(2)));
    seeds->uniform_(-bound, bound, generator);
  }
  if (null_vec_.defined()) {
    // As long as the unit vectors it stands for.
    null_vec_.normal_(0, 1 / std::sqrt(static_cast<double>(null_vec_.size(1))), generator);
    adaln_out_->weight.zero_();
    adaln_out_->bias.zero_();
  }
}

}  // namespace vtissue::models
