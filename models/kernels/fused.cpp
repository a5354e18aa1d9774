#include "models/kernels/fused.h"

#include <cmath>
#include <string>

#include "models/kernels/attention.h"
#include "models/kernels/rows.h"
#include "models/kernels/scratch.h"
#include "models/parallel.h"
#include "models/torch.h"

namespace vtissue::models::kernels {
namespace {

constexpr std::int64_t kRowsPerTask = 16;

/// The instruction set that LibTorch uses, which the numerics class names; so never another one than LibTorch's.
const RowKernels& row_kernels() {
#if defined(__x86_64__)
  static const RowKernels& chosen = [&]() -> const RowKernels& {
    const std::string capability = at::get_cpu_capability();
    if (capability == "AVX512") return kRowsAvx512;
    if (capability == "AVX2") return kRowsAvx2;
    return kRowsDefault;
  }();
  return chosen;
#else
  return kRowsDefault;
#endif
}

using HeadKernel = void (*)(const AttentionHead&, void*);

/// The kernel for this processor and type; null: LibTorch's own attention.
HeadKernel head_kernel([[maybe_unused]] at::ScalarType dtype) {
#if defined(__x86_64__)
  static const bool avx512 = std::string(at::get_cpu_capability()) == "AVX512";
  static const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16") != 0;
  if (dtype == at::kFloat && avx512) return attention_f32_avx512;
  if (dtype == at::kBFloat16 && bf16) return attention_bf16_avx512;
#endif
  return nullptr;
}

const float* data_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

std::int64_t stride_of(const at::Tensor& tensor) {
  return tensor.defined() && tensor.size(0) > 1 ? tensor.stride(0) : 0;
}

AddNormRows describe(const at::Tensor& x, const Residual& residual) {
  AddNormRows rows;
  rows.x = x.mutable_data_ptr<float>();
  rows.rows_per_sample = x.size(1);
  rows.dim = x.size(2);
  if (residual.y.defined()) {
    rows.y = residual.y.const_data_ptr();
    rows.y_is_bf16 = residual.y.scalar_type() == at::kBFloat16;
  }
  rows.gate = data_or_null(residual.gate);
  rows.gate_stride = stride_of(residual.gate);
  rows.constant = data_or_null(residual.constant);
  rows.constant_stride = stride_of(residual.constant);
  return rows;
}

void run(const AddNormRows& rows, const at::Tensor& x) {
  const RowKernels& kernels = row_kernels();
  parallel_for(0, x.size(0) * x.size(1), kRowsPerTask,
               [&](std::int64_t first, std::int64_t last) { kernels.add_norm(rows, first, last); });
}

/// [N, D] → [N, 1, D] to go with tokens.
at::Tensor per_token(const at::Tensor& factor) { return factor.unsqueeze(1); }

void add_by_operators(const at::Tensor& x, const Residual& residual) {
  if (residual.y.defined()) {
    if (residual.gate.defined()) {
      x.addcmul_(residual.y.to(at::kFloat), per_token(residual.gate));
    } else {
      x.add_(residual.y);
    }
  }
  if (residual.constant.defined()) x.add_(per_token(residual.constant));
}

}  // namespace

void add(const at::Tensor& x, const Residual& residual) {
  if (!x.is_cpu()) return add_by_operators(x, residual);
  run(describe(x, residual), x);
}

at::Tensor add_norm(const at::Tensor& x, const Residual& residual, const Norm& norm, at::ScalarType dtype) {
  if (!x.is_cpu()) {
    add_by_operators(x, residual);
    at::Tensor out = at::layer_norm(x, {x.size(2)}, {}, {}, norm.eps);
    if (norm.scale.defined()) out = at::addcmul(per_token(norm.shift), out, per_token(norm.scale));
    if (norm.replaces_x) x.copy_(out);
    return out.to(dtype);
  }
  AddNormRows rows = describe(x, residual);
  at::Tensor out = at::empty(x.sizes(), x.options().dtype(dtype));
  rows.out = out.mutable_data_ptr();
  rows.out_is_bf16 = dtype == at::kBFloat16;
  rows.scale = data_or_null(norm.scale);
  rows.shift = data_or_null(norm.shift);
  rows.norm_stride = stride_of(norm.scale);
  rows.eps = static_cast<float>(norm.eps);
  rows.norm_replaces_x = norm.replaces_x;
  run(rows, x);
  return out;
}

at::Tensor swiglu(const at::Tensor& u) {
  const std::int64_t dim = u.size(-1) / 2;
  if (!u.is_cpu()) return at::silu(u.narrow(-1, 0, dim)).mul_(u.narrow(-1, dim, dim));
  auto shape = u.sizes().vec();
  shape.back() = dim;
  at::Tensor out = at::empty(shape, u.options());
  const SwigluRows rows{
      .u = u.const_data_ptr(), .out = out.mutable_data_ptr(), .dim = dim, .is_bf16 = u.scalar_type() == at::kBFloat16};
  const RowKernels& kernels = row_kernels();
  parallel_for(0, out.numel() / dim, kRowsPerTask,
               [&](std::int64_t first, std::int64_t last) { kernels.swiglu(rows, first, last); });
  return out;
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t heads) {
  const std::int64_t batch = q.size(0);
  const std::int64_t head_dim = q.size(2) / heads;
  const HeadKernel kernel = q.is_cpu() && head_dim % 2 == 0 ? head_kernel(q.scalar_type()) : nullptr;
  if (kernel == nullptr) {
    const auto split = [&](const at::Tensor& h) { return h.unflatten(2, {heads, head_dim}).transpose(1, 2); };
    return at::scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).reshape(q.sizes());
  }
  at::Tensor out = at::empty(q.sizes(), q.options());
  const auto start = [&](const at::Tensor& tensor, std::int64_t sample, std::int64_t head) {
    return static_cast<const char*>(tensor.const_data_ptr()) +
           (sample * tensor.stride(0) + head * head_dim) * static_cast<std::int64_t>(tensor.element_size());
  };
  const auto bytes = static_cast<std::size_t>(attention_scratch_bytes(k.size(1), head_dim));
  parallel_for(0, batch * heads, 1, [&](std::int64_t first, std::int64_t last) {
    void* scratch = thread_scratch(bytes);
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t sample = i / heads;
      const std::int64_t head = i % heads;
      kernel({.q = start(q, sample, head),
              .k = start(k, sample, head),
              .v = start(v, sample, head),
              .out = const_cast<char*>(start(out, sample, head)),
              .q_row = q.stride(1),
              .k_row = k.stride(1),
              .v_row = v.stride(1),
              .out_row = out.stride(1),
              .queries = q.size(1),
              .keys = k.size(1),
              .dim = head_dim,
              .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim)))},
             scratch);
    }
  });
  return out;
}

}  // namespace vtissue::models::kernels
