#pragma once

#include <ATen/core/Tensor.h>

namespace vtissue::models::kernels {

/// What is between two linear layers of a transformer. The residual stream x is float32 [B, T, D] and changed in place;
/// per-channel factors are float32 [1, D] (shared) or [B, D]; undefined ones are 1 or 0.
struct Residual {
  at::Tensor y;         ///< [B, T, D], the branch's result, float32 or bfloat16; undefined: nothing is added
  at::Tensor gate;      ///< factor of y
  at::Tensor constant;  ///< added to every token
};

struct Norm {
  at::Tensor scale;
  at::Tensor shift;  ///< both or neither
  double eps = 1e-6;
  bool replaces_x = false;  ///< post-norm: x becomes the result (needs scale)
};

/// x += gate * y + constant.
void add(const at::Tensor& x, const Residual& residual);

/// The same, then LayerNorm(x) * scale + shift over the last dimension as `dtype` [B, T, D], in one pass. A row's
/// result depends on nothing but that row.
at::Tensor add_norm(const at::Tensor& x, const Residual& residual, const Norm& norm, at::ScalarType dtype);

/// silu(first half) * second half of the last dimension: [..., 2 H] → [..., H].
at::Tensor swiglu(const at::Tensor& u);

/// Softmax attention of `heads`: q [B, T, D], k and v [B, S, D], the last dimension contiguous (slices of one
/// projection are fine) → [B, T, D], contiguous. A query's result does not depend on the other queries.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t heads);

}  // namespace vtissue::models::kernels
