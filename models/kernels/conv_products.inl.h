// Products of rows with packed weights, for conv.inl.h, whose macros it reads. Everything that is multiplied is in
// units of 32 bits: one float, or two bfloat16 of neighbouring channels.

#if defined(VTISSUE_CONV_BF16)
#include <immintrin.h>
#endif

#include <cstdint>

#include "models/kernels/scalar.inl.h"

namespace vtissue::models::kernels {
namespace {

constexpr std::int64_t kLanes = VTISSUE_CONV_LANES;
constexpr int kVectors = VTISSUE_CONV_VECTORS;
constexpr int kRows = 6;               // tiles at a time: kRows * kVectors sums in registers
constexpr std::int64_t kPadding = 16;  // floats between the 16 parts of a transformed tile: other cache sets
constexpr std::int64_t kAligned = 64;  // bytes

using Vector = float __attribute__((vector_size(VTISSUE_CONV_LANES * 4)));

#if defined(VTISSUE_CONV_BF16)
using Stored = unsigned short;

inline Vector multiply_add(Vector sum, unsigned a, const unsigned* b) {
  return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(a)),
                                  (__m512bh)_mm512_loadu_si512(b));
}
inline void put(Stored* to, Vector v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh((__m512)v));
}
/// To the nearest, ties to even.
inline Stored stored(double value) {
  const auto rounded = static_cast<float>(value);
  const unsigned bits = __builtin_bit_cast(unsigned, rounded);
  return static_cast<Stored>(rounded == rounded ? (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16 : 0x7fc0u);
}
#else
using Stored = float;

inline Vector multiply_add(Vector sum, unsigned a, const unsigned* b) {
  Vector value;
  __builtin_memcpy(&value, b, sizeof value);
  return sum + __builtin_bit_cast(float, a) * value;
}
inline void put(Stored* to, Vector v) { __builtin_memcpy(to, &v, sizeof v); }
inline Stored stored(double value) { return static_cast<float>(value); }
#endif

constexpr std::int64_t kPerUnit = 4 / static_cast<std::int64_t>(sizeof(Stored));

inline Vector get(const float* from) {
  Vector v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Products of a tile: 16, or the 9 that are not zero if the map is doubled.
constexpr std::int64_t side_of(bool doubled) { return doubled ? 3 : 4; }
constexpr std::int64_t products_of(bool doubled) { return side_of(doubled) * side_of(doubled); }

/// sums[r][c] += a[r][u] * b[u][c] over the units, in order; then to `to`.
template <int R, int C>
void multiply(const unsigned* a, std::int64_t a_row, const unsigned* b, std::int64_t units, float* to,
              std::int64_t to_row) {
  Vector sums[R][C] = {};
  for (std::int64_t u = 0; u < units; ++u) {
    for (int r = 0; r < R; ++r) {
      for (int c = 0; c < C; ++c) sums[r][c] = multiply_add(sums[r][c], a[r * a_row + u], b + (u * C + c) * kLanes);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) __builtin_memcpy(to + r * to_row + c * kLanes, &sums[r][c], sizeof sums[r][c]);
  }
}

template <int C>
void multiply_rows(const unsigned* a, std::int64_t a_row, const unsigned* b, std::int64_t units, float* to,
                   std::int64_t to_row, std::int64_t rows) {
  while (rows > 0) {
    // The last two steps are of equal size: a step of few rows waits for its loads.
    const std::int64_t step = rows >= 2 * kRows || rows == kRows ? kRows : rows > kRows ? (rows + 1) / 2 : rows;
    switch (step) {
      case 1:
        multiply<1, C>(a, a_row, b, units, to, to_row);
        break;
      case 2:
        multiply<2, C>(a, a_row, b, units, to, to_row);
        break;
      case 3:
        multiply<3, C>(a, a_row, b, units, to, to_row);
        break;
      case 4:
        multiply<4, C>(a, a_row, b, units, to, to_row);
        break;
      case 5:
        multiply<5, C>(a, a_row, b, units, to, to_row);
        break;
      default:
        multiply<kRows, C>(a, a_row, b, units, to, to_row);
    }
    rows -= step;
    a += step * a_row;
    to += step * to_row;
  }
}

/// a [rows, units] times a panel of `vectors` vectors of outputs.
void multiply_panel(int vectors, const unsigned* a, std::int64_t a_row, const unsigned* b, std::int64_t units,
                    float* to, std::int64_t to_row, std::int64_t rows) {
  if (vectors == kVectors) return multiply_rows<kVectors>(a, a_row, b, units, to, to_row, rows);
  if constexpr (kVectors > 3) {
    if (vectors == 3) return multiply_rows<3>(a, a_row, b, units, to, to_row, rows);
  }
  if constexpr (kVectors > 2) {
    if (vectors == 2) return multiply_rows<2>(a, a_row, b, units, to, to_row, rows);
  }
  multiply_rows<1>(a, a_row, b, units, to, to_row, rows);
}

/// Calls work(first output, vectors of outputs, weights of the panel) for the panels of a layer, whose weights are
/// [panels][products][units][vectors of the panel * kLanes].
template <typename Work>
void for_panels(std::int64_t out, std::int64_t products, std::int64_t units, Work&& work) {
  const std::int64_t total = round_up(out, kLanes) / kLanes;
  for (std::int64_t first = 0; first < total; first += kVectors) {
    const auto vectors = static_cast<int>(total - first < kVectors ? total - first : kVectors);
    work(first * kLanes, vectors, first * kLanes * products * units);
  }
}

std::int64_t padded_channels(std::int64_t in) { return round_up(in, kLanes); }

/// `transformed(output, input, product)` is a factor.
template <typename Transformed>
void pack(std::int64_t in, std::int64_t out, std::int64_t products, void* packed, const Transformed& transformed) {
  auto* to = static_cast<Stored*>(packed);
  const std::int64_t channels = padded_channels(in);
  for_panels(out, products, channels / kPerUnit, [&](std::int64_t first, int vectors, std::int64_t) {
    for (std::int64_t p = 0; p < products; ++p) {
      for (std::int64_t c = 0; c < channels; c += kPerUnit) {
        for (std::int64_t o = first; o < first + vectors * kLanes; ++o) {
          for (std::int64_t k = c; k < c + kPerUnit; ++k)
            *to++ = o < out && k < in ? stored(transformed(o, k, p)) : Stored();
        }
      }
    }
  });
}

std::int64_t packed_bytes(std::int64_t in, std::int64_t out, std::int64_t products) {
  return products * padded_channels(in) * round_up(out, kLanes) * static_cast<std::int64_t>(sizeof(Stored));
}

}  // namespace
}  // namespace vtissue::models::kernels
