// The loops behind rows.h; included by one source for each instruction set, which defines VTISSUE_ROW_KERNELS. The
// order of a sum is fixed by the instruction set alone.

#include "models/kernels/rows.h"
#include "models/kernels/scalar.inl.h"

namespace vtissue::models::kernels {
namespace {

using Bits16 = unsigned short;

struct Float {
  using Stored = float;
  static float load(float value) { return value; }
  static float store(float value) { return value; }
};

struct BFloat16 {
  using Stored = Bits16;
  static float load(Bits16 bits) { return __builtin_bit_cast(float, static_cast<unsigned>(bits) << 16); }
  /// To the nearest, ties to even; NaN stays NaN.
  static Bits16 store(float value) {
    const unsigned bits = __builtin_bit_cast(unsigned, value);
    const unsigned rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return static_cast<Bits16>(value == value ? rounded : 0x7fc0u);
  }
};

const float* row_of(const float* values, std::int64_t stride, std::int64_t sample) {
  return values == nullptr ? nullptr : values + stride * sample;
}

template <typename Y>
void add(float* __restrict x, const typename Y::Stored* __restrict y, const float* gate, const float* constant,
         std::int64_t dim) {
  if (gate != nullptr && constant != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < dim; ++i) x[i] += gate[i] * Y::load(y[i]) + constant[i];
  } else if (gate != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < dim; ++i) x[i] += gate[i] * Y::load(y[i]);
  } else if (constant != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < dim; ++i) x[i] += Y::load(y[i]) + constant[i];
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < dim; ++i) x[i] += Y::load(y[i]);
  }
}

template <typename Out>
void norm(float* __restrict x, typename Out::Stored* __restrict out, const float* scale, const float* shift,
          const AddNormRows& a) {
  const std::int64_t dim = a.dim;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < dim; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(dim);
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (std::int64_t i = 0; i < dim; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const float factor = 1.0f / __builtin_sqrtf(squares / static_cast<float>(dim) + a.eps);
  if (scale == nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < dim; ++i) out[i] = Out::store((x[i] - mean) * factor);
  } else if (a.norm_replaces_x) {
#pragma omp simd
    for (std::int64_t i = 0; i < dim; ++i) {
      const float value = (x[i] - mean) * factor * scale[i] + shift[i];
      x[i] = value;
      out[i] = Out::store(value);
    }
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < dim; ++i) out[i] = Out::store((x[i] - mean) * factor * scale[i] + shift[i]);
  }
}

void add_norm(const AddNormRows& a, std::int64_t first, std::int64_t last) {
  for (std::int64_t row = first; row < last; ++row) {
    const std::int64_t sample = row / a.rows_per_sample;
    const std::int64_t offset = row * a.dim;
    float* x = a.x + offset;
    const float* gate = row_of(a.gate, a.gate_stride, sample);
    const float* constant = row_of(a.constant, a.constant_stride, sample);
    if (a.y == nullptr) {
      if (constant != nullptr) {
#pragma omp simd
        for (std::int64_t i = 0; i < a.dim; ++i) x[i] += constant[i];
      }
    } else if (a.y_is_bf16) {
      add<BFloat16>(x, static_cast<const Bits16*>(a.y) + offset, gate, constant, a.dim);
    } else {
      add<Float>(x, static_cast<const float*>(a.y) + offset, gate, constant, a.dim);
    }
    if (a.out == nullptr) continue;
    const float* scale = row_of(a.scale, a.norm_stride, sample);
    const float* shift = row_of(a.shift, a.norm_stride, sample);
    if (a.out_is_bf16) {
      norm<BFloat16>(x, static_cast<Bits16*>(a.out) + offset, scale, shift, a);
    } else {
      norm<Float>(x, static_cast<float*>(a.out) + offset, scale, shift, a);
    }
  }
}

template <typename T>
void swiglu_rows(const typename T::Stored* u, typename T::Stored* out, std::int64_t dim, std::int64_t first,
                 std::int64_t last) {
  for (std::int64_t row = first; row < last; ++row) {
    const typename T::Stored* __restrict gate = u + row * 2 * dim;
    const typename T::Stored* __restrict value = gate + dim;
    typename T::Stored* __restrict to = out + row * dim;
#pragma omp simd
    for (std::int64_t i = 0; i < dim; ++i) {
      const float g = T::load(gate[i]);
      to[i] = T::store(g / (1.0f + fast_exp(-g)) * T::load(value[i]));
    }
  }
}

void swiglu(const SwigluRows& a, std::int64_t first, std::int64_t last) {
  if (a.is_bf16) {
    swiglu_rows<BFloat16>(static_cast<const Bits16*>(a.u), static_cast<Bits16*>(a.out), a.dim, first, last);
  } else {
    swiglu_rows<Float>(static_cast<const float*>(a.u), static_cast<float*>(a.out), a.dim, first, last);
  }
}

}  // namespace

const RowKernels VTISSUE_ROW_KERNELS = {add_norm, swiglu};

}  // namespace vtissue::models::kernels
