#include "models/stmdit/set_transformer.h"

#include <cmath>

namespace vtissue::models {

SetAttentionImpl::SetAttentionImpl(int query_dim, int key_dim, int dim, int heads, bool layer_norm)
    : heads_(heads),
      fc_q_(register_module("fc_q", torch::nn::Linear(query_dim, dim))),
      fc_k_(register_module("fc_k", torch::nn::Linear(key_dim, dim))),
      fc_v_(register_module("fc_v", torch::nn::Linear(key_dim, dim))),
      fc_o_(register_module("fc_o", torch::nn::Linear(dim, dim))) {
  if (!layer_norm) return;
  ln0_ = register_module("ln0", torch::nn::LayerNorm(torch::nn::LayerNormOptions({dim})));
  ln1_ = register_module("ln1", torch::nn::LayerNorm(torch::nn::LayerNormOptions({dim})));
}

at::Tensor SetAttentionImpl::forward(const at::Tensor& query, const at::Tensor& key) {
  const at::Tensor q = fc_q_(query);
  const auto split = [&](const at::Tensor& h) {
    return h.view({h.size(0), h.size(1), heads_, h.size(2) / heads_}).transpose(1, 2);
  };
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(2)));
  const at::Tensor attended = at::scaled_dot_product_attention(split(q), split(fc_k_(key)), split(fc_v_(key)),
                                                               /*attn_mask=*/{}, /*dropout_p=*/0.0,
                                                               /*is_causal=*/false, scale);
  at::Tensor out = q + attended.transpose(1, 2).reshape(q.sizes());
  if (ln0_) out = ln0_(out);
  out = out + at::relu(fc_o_(out));
  return ln1_ ? ln1_(out) : out;
}

SetPoolingImpl::SetPoolingImpl(int dim, int heads, int seeds, bool layer_norm)
    : seeds_(register_parameter("S", at::zeros({1, seeds, dim}))),
      mab_(register_module("mab", SetAttention(dim, dim, dim, heads, layer_norm))) {}

at::Tensor SetPoolingImpl::forward(const at::Tensor& set) { return mab_(seeds_.expand({set.size(0), -1, -1}), set); }

SetSelfAttentionImpl::SetSelfAttentionImpl(int dim, int heads, bool layer_norm)
    : mab_(register_module("mab", SetAttention(dim, dim, dim, heads, layer_norm))) {}

}  // namespace vtissue::models
