#pragma once

#include <cstdint>

/// Softmax attention of one head on AVX-512; no LibTorch here, as in rows.h.
namespace vtissue::models::kernels {

/// One head: out = softmax(q k^T * scale) v. q [queries, dim], k and v [keys, dim], out [queries, dim]; rows lie
/// `*_row` values apart, the values of a row one after another. float32, or bfloat16 with products summed in float32.
struct AttentionHead {
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  void* out = nullptr;
  std::int64_t q_row = 0;
  std::int64_t k_row = 0;
  std::int64_t v_row = 0;
  std::int64_t out_row = 0;
  std::int64_t queries = 0;
  std::int64_t keys = 0;
  std::int64_t dim = 0;  ///< even
  float scale = 1;
};

/// Bytes of scratch a head needs, aligned to 64.
std::int64_t attention_scratch_bytes(std::int64_t keys, std::int64_t dim);

/// A query's result depends on q's row, k and v alone, not on what other rows there are.
void attention_f32_avx512(const AttentionHead& head, void* scratch);
void attention_bf16_avx512(const AttentionHead& head, void* scratch);  ///< needs AVX512_BF16

}  // namespace vtissue::models::kernels
