#include "models/stmdit/layers.h"

#include "models/stmdit/position_table.h"

namespace vtissue::models {

namespace nn = torch::nn;

namespace {

constexpr double kLayerNormEps = 1e-6;
constexpr int kSinusoidDim = 256;

at::Tensor gelu_tanh(const at::Tensor& x) { return at::gelu(x, "tanh"); }

/// A bare module that gives its children's parameters one more level of names.
std::shared_ptr<nn::Module> level(nn::Module& parent, const std::string& name) {
  return parent.register_module(name, std::make_shared<nn::Module>());
}

}  // namespace

at::Tensor plain_layer_norm(const at::Tensor& x) {
  return at::layer_norm(x, {x.size(-1)}, /*weight=*/{}, /*bias=*/{}, kLayerNormEps);
}

DitAttentionImpl::DitAttentionImpl(int dim, int heads, bool one_token_shortcut)
    : heads_(heads),
      one_token_shortcut_(one_token_shortcut),
      to_q_(dim, dim),
      to_k_(dim, dim),
      to_v_(dim, dim),
      out_(dim, dim) {
  register_module("to_q", to_q_);
  register_module("to_k", to_k_);
  register_module("to_v", to_v_);
  level(*this, "to_out")->register_module("0", out_);
}

at::Tensor DitAttentionImpl::forward(const at::Tensor& x, const at::Tensor& context) {
  if (one_token_shortcut_ && context.size(1) == 1) return out_(to_v_(context));
  const auto split = [&](const at::Tensor& h) {
    return h.view({h.size(0), h.size(1), heads_, h.size(2) / heads_}).transpose(1, 2);
  };
  const at::Tensor attended =
      at::scaled_dot_product_attention(split(to_q_(x)), split(to_k_(context)), split(to_v_(context)));
  return out_(attended.transpose(1, 2).reshape(x.sizes()));
}

DitFeedForwardImpl::DitFeedForwardImpl(int dim, int hidden) : in_(dim, hidden), out_(hidden, dim) {
  const auto net = level(*this, "net");
  level(*net, "0")->register_module("proj", in_);
  net->register_module("2", out_);
}

at::Tensor DitFeedForwardImpl::forward(const at::Tensor& x) { return out_(gelu_tanh(in_(x))); }

AdaLnSingleImpl::AdaLnSingleImpl(int dim) : linear_1_(kSinusoidDim, dim), linear_2_(dim, dim), linear_(dim, 6 * dim) {
  const auto embedder = level(*level(*this, "emb"), "timestep_embedder");
  embedder->register_module("linear_1", linear_1_);
  embedder->register_module("linear_2", linear_2_);
  register_module("linear", linear_);
}

at::Tensor AdaLnSingleImpl::embed(const at::Tensor& t) {
  const at::Tensor sinusoid = timestep_sinusoid(t).to(linear_1_->weight.scalar_type());
  return linear_2_(at::silu(linear_1_(sinusoid)));
}

at::Tensor AdaLnSingleImpl::modulation(const at::Tensor& t_emb) {
  return linear_(at::silu(t_emb)).view({t_emb.size(0), 6, t_emb.size(1)});
}

void AdaLnSingleImpl::initialize_time(at::Generator generator) {
  const at::NoGradGuard no_grad;
  linear_1_->weight.normal_(0, 0.02, generator);
  linear_2_->weight.normal_(0, 0.02, generator);
}

MorphologyProjectionImpl::MorphologyProjectionImpl(const StmditConfig& config)
    : linear_1_(config.morphology_dim, config.dim), linear_2_(config.dim, config.dim) {
  register_module("linear_1", linear_1_);
  register_module("linear_2", linear_2_);
  uncond_embedding_ = register_buffer("uncond_embedding", at::zeros({config.morphology_tokens, config.morphology_dim}));
}

at::Tensor MorphologyProjectionImpl::forward(const at::Tensor& tokens) {
  return linear_2_(gelu_tanh(linear_1_(tokens)));
}

}  // namespace vtissue::models
