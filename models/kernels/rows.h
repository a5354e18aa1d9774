#pragma once

#include <cstdint>

/// Loops over rows of floats, compiled once for each instruction set (rows_avx512.cpp, rows_avx2.cpp,
/// rows_default.cpp). No LibTorch and no standard templates here: an inline function compiled for AVX-512 must not
/// become the one that the linker keeps for everybody.
namespace vtissue::models::kernels {

/// x += gate * y + constant, then out = LayerNorm(x) * scale + shift; rows of `dim` values. bfloat16 is 16 raw bits.
struct AddNormRows {
  float* x = nullptr;                ///< [rows, dim], changed in place
  const void* y = nullptr;           ///< [rows, dim] or null
  const float* gate = nullptr;       ///< [samples, dim] or null: 1
  const float* constant = nullptr;   ///< [samples, dim] or null: 0
  const float* scale = nullptr;      ///< [samples, dim] or null: 1
  const float* shift = nullptr;      ///< [samples, dim] or null: 0
  void* out = nullptr;               ///< [rows, dim] or null: no norm
  std::int64_t gate_stride = 0;      ///< values from one sample's to the next; 0: shared by all
  std::int64_t constant_stride = 0;  ///< likewise
  std::int64_t norm_stride = 0;      ///< likewise, of scale and shift
  std::int64_t rows_per_sample = 1;
  std::int64_t dim = 0;
  float eps = 0;
  bool y_is_bf16 = false;
  bool out_is_bf16 = false;
  bool norm_replaces_x = false;  ///< x becomes the norm's result too (post-norm layers)
};

/// out = silu(first half of u) * second half; u [rows, 2 * dim], out [rows, dim].
struct SwigluRows {
  const void* u = nullptr;
  void* out = nullptr;
  std::int64_t dim = 0;
  bool is_bf16 = false;
};

struct RowKernels {
  void (*add_norm)(const AddNormRows&, std::int64_t first, std::int64_t last);  ///< rows first..last-1
  void (*swiglu)(const SwigluRows&, std::int64_t first, std::int64_t last);
};

extern const RowKernels kRowsAvx512;
extern const RowKernels kRowsAvx2;
extern const RowKernels kRowsDefault;

}  // namespace vtissue::models::kernels
