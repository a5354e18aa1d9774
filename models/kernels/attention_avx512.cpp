#include "models/kernels/attention.h"

#include <immintrin.h>

// Keys are packed in panels of 16 with the head's dimension running inside, so that a block of scores is a sum of
// products of a broadcast value of q and a vector of 16 keys; the same for the probabilities and v. With bfloat16 two
// neighbouring values are multiplied and added in one instruction, so everything is in units of 32 bits: one float or
// two bfloat16.

namespace vtissue::models::kernels {
namespace {

constexpr std::int64_t kLanes = 16;
constexpr int kRows = 6;    // queries at a time
constexpr int kPanels = 4;  // vectors of 16 keys, or of 16 channels of v, at a time: 24 sums in registers

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

__m512 multiply_add(__m512 sum, __m512i a, __m512i b, float) {
  return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
}
__m512 multiply_add(__m512 sum, __m512i a, __m512i b, unsigned short) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

/// exp(x) for x <= 0, to 2 ulp; 0 far below.
__m512 exp_of(__m512 x) {
  const __m512 low = _mm512_set1_ps(-87.0f);
  const __mmask16 seen = _mm512_cmp_ps_mask(x, low, _CMP_GE_OQ);
  x = _mm512_max_ps(x, low);
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
  return _mm512_maskz_scalef_ps(seen, p, n);
}

/// sums[r][c] = sum over the units u of a[r][u] * b[c][u][lane], the units in order.
template <int R, int C, typename T>
void products(const unsigned* const* a, const unsigned* b, std::int64_t b_unit, std::int64_t b_vector,
              std::int64_t units, __m512 (&sums)[R][C]) {
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sums[r][c] = _mm512_setzero_ps();
  }
  for (std::int64_t u = 0; u < units; ++u) {
    __m512i vectors[C];
    for (int c = 0; c < C; ++c) vectors[c] = _mm512_loadu_si512(b + u * b_unit + c * b_vector);
    for (int r = 0; r < R; ++r) {
      const __m512i value = _mm512_set1_epi32(static_cast<int>(a[r][u]));
      for (int c = 0; c < C; ++c) sums[r][c] = multiply_add(sums[r][c], value, vectors[c], T());
    }
  }
}

/// Scores of R queries for C panels of keys.
template <int R, int C, typename T>
void score(const unsigned* const* q, const unsigned* panels, std::int64_t units, float* scores, std::int64_t row) {
  __m512 sums[R][C];
  products<R, C, T>(q, panels, kLanes, units * kLanes, units, sums);
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) _mm512_storeu_ps(scores + r * row + c * kLanes, sums[r][c]);
  }
}

/// What is left of `lanes` from lane `first` on, at most 16.
__mmask16 lanes_left(std::int64_t lanes, std::int64_t first) {
  const std::int64_t left = lanes - first;
  return left >= kLanes ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << left) - 1u);
}

void store_values(float* to, __mmask16 lanes, __m512 values) { _mm512_mask_storeu_ps(to, lanes, values); }
void store_values(unsigned short* to, __mmask16 lanes, __m512 values) {
  _mm256_mask_storeu_epi16(to, lanes, (__m256i)_mm512_cvtneps_pbh(values));
}

/// Channels of R queries' results in C vectors.
template <int R, int C, typename T>
void mix(const unsigned* const* p, const unsigned* v, std::int64_t v_unit, std::int64_t units, const float* sums_of_p,
         T* out, std::int64_t out_row, std::int64_t channels) {
  __m512 sums[R][C];
  products<R, C, T>(p, v, v_unit, kLanes, units, sums);
  for (int r = 0; r < R; ++r) {
    const __m512 factor = _mm512_set1_ps(1.0f / sums_of_p[r]);
    for (int c = 0; c < C; ++c) {
      store_values(out + r * out_row + c * kLanes, lanes_left(channels, c * kLanes), _mm512_mul_ps(sums[r][c], factor));
    }
  }
}

/// Scores → exp(scale * (score - largest)), in place or as bfloat16; returns their sum.
template <typename T>
float exponentials(float* scores, T* out, std::int64_t keys, std::int64_t padded_keys, float scale) {
  __m512 largest = _mm512_set1_ps(-__builtin_inff());
  for (std::int64_t j = 0; j < keys; j += kLanes) {
    largest = _mm512_mask_max_ps(largest, lanes_left(keys, j), largest, _mm512_loadu_ps(scores + j));
  }
  const __m512 offset = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
  const __m512 factor = _mm512_set1_ps(scale);
  __m512 sum = _mm512_setzero_ps();
  for (std::int64_t j = 0; j < padded_keys; j += kLanes) {
    const __mmask16 lanes = j < keys ? lanes_left(keys, j) : static_cast<__mmask16>(0);
    const __m512 difference = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(scores + j), offset), factor);
    const __m512 value = _mm512_maskz_mov_ps(lanes, exp_of(difference));
    sum = _mm512_add_ps(sum, value);
    store_values(out + j, static_cast<__mmask16>(0xffff), value);
  }
  return _mm512_reduce_add_ps(sum);
}

/// Keys as panels: [keys / 16][units][16 keys]; keys that are not there are zero.
void pack_keys(const unsigned* k, std::int64_t row_units, std::int64_t keys, std::int64_t units, unsigned* panels) {
  for (std::int64_t first = 0; first < keys; first += kLanes) {
    const std::int64_t count = keys - first < kLanes ? keys - first : kLanes;
    const __mmask16 lanes = lanes_left(keys, first);
    alignas(64) int offsets[kLanes];
    for (std::int64_t j = 0; j < kLanes; ++j) offsets[j] = j < count ? static_cast<int>(j * row_units) : 0;
    const __m512i index = _mm512_load_si512(offsets);
    const unsigned* from = k + first * row_units;
    for (std::int64_t u = 0; u < units; ++u, panels += kLanes) {
      _mm512_store_si512(panels, _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), lanes, index, from + u, 4));
    }
  }
}

/// Values as [units of keys][padded dim].
void pack_values(const float* v, std::int64_t row, std::int64_t keys, std::int64_t dim, std::int64_t padded_dim,
                 unsigned* out) {
  auto* to = reinterpret_cast<float*>(out);
  for (std::int64_t j = 0; j < keys; ++j) {
    for (std::int64_t c = 0; c < padded_dim; ++c) to[j * padded_dim + c] = c < dim ? v[j * row + c] : 0.0f;
  }
}
void pack_values(const unsigned short* v, std::int64_t row, std::int64_t keys, std::int64_t dim,
                 std::int64_t padded_dim, unsigned* out) {
  for (std::int64_t j = 0; j < keys; j += 2, out += padded_dim) {
    const unsigned short* first = v + j * row;
    const unsigned short* second = j + 1 < keys ? first + row : nullptr;
    for (std::int64_t c = 0; c < padded_dim; ++c) {
      const unsigned low = c < dim ? first[c] : 0;
      const unsigned high = c < dim && second != nullptr ? second[c] : 0;
      out[c] = low | high << 16;
    }
  }
}

template <typename T>
struct Packed {
  static constexpr std::int64_t kPerUnit = 4 / static_cast<std::int64_t>(sizeof(T));
  const AttentionHead& head;
  std::int64_t padded_keys, padded_dim, key_units, dim_units;
  unsigned* panels;
  unsigned* values;
  float* scores;     // [kRows, padded_keys]
  T* probabilities;  // the same; with float32 in the place of the scores

  template <int R>
  void rows(std::int64_t first) const {
    const T* q = static_cast<const T*>(head.q) + first * head.q_row;
    const unsigned* queries[R];
    for (int r = 0; r < R; ++r) queries[r] = reinterpret_cast<const unsigned*>(q + r * head.q_row);
    const std::int64_t panel = dim_units * kLanes;
    const std::int64_t count = padded_keys / kLanes;
    std::int64_t p = 0;
    for (; p + kPanels <= count; p += kPanels) {
      score<R, kPanels, T>(queries, panels + p * panel, dim_units, scores + p * kLanes, padded_keys);
    }
    for (; p < count; ++p) score<R, 1, T>(queries, panels + p * panel, dim_units, scores + p * kLanes, padded_keys);

    float sums[R];
    const unsigned* mixed[R];
    for (int r = 0; r < R; ++r) {
      T* row = probabilities + r * padded_keys;
      sums[r] = exponentials(scores + r * padded_keys, row, head.keys, padded_keys, head.scale);
      mixed[r] = reinterpret_cast<const unsigned*>(row);
    }
    T* out = static_cast<T*>(head.out) + first * head.out_row;
    std::int64_t c = 0;
    for (; c + kPanels * kLanes <= padded_dim; c += kPanels * kLanes) {
      mix<R, kPanels, T>(mixed, values + c, padded_dim, key_units, sums, out + c, head.out_row, head.dim - c);
    }
    if (padded_dim - c >= 2 * kLanes) {
      mix<R, 2, T>(mixed, values + c, padded_dim, key_units, sums, out + c, head.out_row, head.dim - c);
      c += 2 * kLanes;
    }
    if (c < padded_dim) {
      mix<R, 1, T>(mixed, values + c, padded_dim, key_units, sums, out + c, head.out_row, head.dim - c);
    }
  }
};

template <typename T>
void attention(const AttentionHead& head, void* scratch) {
  constexpr std::int64_t kPerUnit = Packed<T>::kPerUnit;
  const std::int64_t padded_keys = round_up(head.keys, kLanes);
  const std::int64_t padded_dim = round_up(head.dim, kLanes);
  const std::int64_t dim_units = head.dim / kPerUnit;
  auto* panels = static_cast<unsigned*>(scratch);
  unsigned* values = panels + padded_keys * padded_dim;
  auto* scores = reinterpret_cast<float*>(values + padded_keys * padded_dim);
  T* probabilities = kPerUnit == 1 ? reinterpret_cast<T*>(scores) : reinterpret_cast<T*>(scores + kRows * padded_keys);
  const Packed<T> packed{head,   padded_keys, padded_dim,   round_up(head.keys, kPerUnit) / kPerUnit, dim_units, panels,
                         values, scores,      probabilities};
  pack_keys(static_cast<const unsigned*>(head.k), head.k_row / kPerUnit, head.keys, dim_units, panels);
  pack_values(static_cast<const T*>(head.v), head.v_row, head.keys, head.dim, padded_dim, values);
  std::int64_t row = 0;
  for (; row + kRows <= head.queries; row += kRows) packed.template rows<kRows>(row);
  if (head.queries - row >= 4) {
    packed.template rows<4>(row);
    row += 4;
  }
  if (head.queries - row >= 2) {
    packed.template rows<2>(row);
    row += 2;
  }
  if (row < head.queries) packed.template rows<1>(row);
}

}  // namespace

std::int64_t attention_scratch_bytes(std::int64_t keys, std::int64_t dim) {
  const std::int64_t padded_keys = round_up(keys, kLanes);
  return 4 * padded_keys * (2 * round_up(dim, kLanes) + 2 * kRows);
}

void attention_f32_avx512(const AttentionHead& head, void* scratch) { attention<float>(head, scratch); }

void attention_bf16_avx512(const AttentionHead& head, void* scratch) { attention<unsigned short>(head, scratch); }

}  // namespace vtissue::models::kernels
