// The loops behind conv.h; included by one source for each instruction set, which defines VTISSUE_CONV_KERNELS,
// VTISSUE_CONV_LANES (floats in a vector), VTISSUE_CONV_VECTORS (vectors of outputs at a time) and, for products of
// bfloat16, VTISSUE_CONV_BF16.

#include "models/kernels/conv.h"
#include "models/kernels/conv_products.inl.h"

namespace vtissue::models::kernels {
namespace {

std::int64_t packed3x3_bytes(std::int64_t in, std::int64_t out, bool doubled) {
  return packed_bytes(in, out, products_of(doubled));
}

/// Weights become G g G^T.
void pack3x3(const float* weight, std::int64_t in, std::int64_t out, bool doubled, void* packed) {
  constexpr double kG[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
  constexpr int kOfDoubled[3] = {0, 1, 3};
  const std::int64_t side = side_of(doubled);
  pack(in, out, side * side, packed, [&](std::int64_t o, std::int64_t k, std::int64_t p) {
    const std::int64_t i = doubled ? kOfDoubled[p / side] : p / side;
    const std::int64_t j = doubled ? kOfDoubled[p % side] : p % side;
    const float* g = weight + (o * in + k) * 9;
    double sum = 0;
    for (int row = 0; row < 3; ++row) {
      for (int column = 0; column < 3; ++column) {
        sum += kG[i][row] * static_cast<double>(g[row * 3 + column]) * kG[j][column];
      }
    }
    return sum;
  });
}

/// Sizes of a block's buffers.
struct Buffers {
  std::int64_t channels;  ///< padded
  std::int64_t rows;      ///< of the part of the input that the block sees
  std::int64_t columns;   ///< likewise
  std::int64_t tiles;
  std::int64_t part;       ///< units from one product's transformed tiles to the next's
  std::int64_t sums_part;  ///< floats from one product's sums to the next's
  std::int64_t input_bytes, tiles_bytes, sums_bytes;

  explicit Buffers(const Conv3x3Block& b)
      : channels(padded_channels(b.in)),
        rows(b.doubled ? b.rows + 2 : 2 * b.rows + 2),
        columns(b.doubled ? b.columns + 2 : 2 * b.columns + 2),
        tiles(b.rows * b.columns),
        part(tiles * channels / kPerUnit + kPadding),
        sums_part(tiles * kVectors * kLanes + kPadding),
        input_bytes(round_up(rows * columns * channels * 4, kAligned)),
        tiles_bytes(round_up(products_of(b.doubled) * part * 4, kAligned)),
        sums_bytes(round_up(products_of(b.doubled) * sums_part * 4, kAligned)) {}
};

std::int64_t scratch3x3_bytes(const Conv3x3Block& block) {
  const Buffers b(block);
  return b.input_bytes + b.tiles_bytes + b.sums_bytes;
}

void activate(const float* __restrict x, const float* __restrict scale, const float* __restrict shift,
              float* __restrict to, std::int64_t channels) {
#pragma omp simd
  for (std::int64_t i = 0; i < channels; ++i) {
    const float value = x[i] * scale[i] + shift[i];
    to[i] = value / (1.0f + fast_exp(-value));
  }
}

/// What the block sees of the layer's input; zero outside the map and in channels that are not there.
void gather(const Conv3x3Block& b, const Buffers& size, float* input) {
  const std::int64_t height = b.doubled ? b.height / 2 : b.height, width = b.doubled ? b.width / 2 : b.width;
  const std::int64_t top = (b.doubled ? b.first_row : 2 * b.first_row) - 1;
  const std::int64_t left = (b.doubled ? b.first_column : 2 * b.first_column) - 1;
  for (std::int64_t i = 0; i < size.rows; ++i) {
    for (std::int64_t j = 0; j < size.columns; ++j) {
      const std::int64_t y = top + i, x = left + j;
      float* to = input + (i * size.columns + j) * size.channels;
      std::int64_t given = 0;
      if (y >= 0 && y < height && x >= 0 && x < width) {
        const float* from = b.x + (y * width + x) * b.in;
        given = b.in;
        if (b.scale != nullptr) {
          activate(from, b.scale, b.shift, to, given);
        } else {
          __builtin_memcpy(to, from, static_cast<unsigned long>(given) * sizeof(float));
        }
      }
      for (std::int64_t c = given; c < size.channels; ++c) to[c] = 0;
    }
  }
}

/// B^T d of four values.
inline void transform(const Vector (&d)[4], Vector (&t)[4]) {
  t[0] = d[0] - d[2];
  t[1] = d[1] + d[2];
  t[2] = d[2] - d[1];
  t[3] = d[1] - d[3];
}

/// The same of a doubled map's a, b, b, c without the zero.
inline void transform(const Vector (&d)[3], Vector (&t)[3]) {
  t[0] = d[0] - d[1];
  t[1] = d[1] + d[1];
  t[2] = d[1] - d[2];
}

/// Tiles d become B^T d B.
template <int Side>
void transform_tiles(const Conv3x3Block& b, const Buffers& size, const float* input, unsigned* tiles) {
  constexpr std::int64_t kStep = Side == 4 ? 2 : 1;
  const std::int64_t input_row = size.columns * size.channels;
  for (std::int64_t i = 0; i < b.rows; ++i) {
    for (std::int64_t j = 0; j < b.columns; ++j) {
      const float* from = input + kStep * (i * input_row + j * size.channels);
      auto* to = reinterpret_cast<Stored*>(tiles) + (i * b.columns + j) * size.channels;
      for (std::int64_t c = 0; c < size.channels; c += kLanes) {
        Vector across[Side][Side];  // [column][row]: rows are transformed
        for (int column = 0; column < Side; ++column) {
          Vector d[Side];
          for (int row = 0; row < Side; ++row) d[row] = get(from + row * input_row + column * size.channels + c);
          transform(d, across[column]);
        }
        for (int row = 0; row < Side; ++row) {
          Vector d[Side], t[Side];
          for (int column = 0; column < Side; ++column) d[column] = across[column][row];
          transform(d, t);
          for (int column = 0; column < Side; ++column) {
            put(to + (row * Side + column) * size.part * kPerUnit + c, t[column]);
          }
        }
      }
    }
  }
}

/// A^T m of four or, without the zero, three products.
inline void gather_results(const Vector (&m)[4], Vector (&y)[2]) {
  y[0] = m[0] + m[1] + m[2];
  y[1] = m[1] - m[2] - m[3];
}
inline void gather_results(const Vector (&m)[3], Vector (&y)[2]) {
  y[0] = m[0] + m[1];
  y[1] = m[1] - m[2];
}

/// Not a maximum: what is not a number has to stay so.
template <typename Value>
inline Value rectified(Value value) {
  return value < 0 ? Value{} : value;
}

/// Adds bias and residual of outputs first..first+kLanes-1 and stores the pixel.
inline void finish(const Conv3x3Block& b, std::int64_t pixel, std::int64_t first, Vector value) {
  const std::int64_t at = pixel * b.out + first;
  if (first + kLanes <= b.out) {
    value += get(b.bias + first);
    if (b.residual != nullptr) value += get(b.residual + at);
    if (b.rectified) value = rectified(value);
    __builtin_memcpy(b.result + at, &value, sizeof value);
    return;
  }
  for (std::int64_t o = first; o < b.out; ++o) {
    float sum = value[o - first] + b.bias[o];
    if (b.residual != nullptr) sum += b.residual[at + o - first];
    b.result[at + o - first] = b.rectified ? rectified(sum) : sum;
  }
}

/// Sums m become A^T m A, the results.
template <int Side>
void results_of(const Conv3x3Block& b, const Buffers& size, const float* sums, std::int64_t first, int vectors) {
  for (std::int64_t i = 0; i < b.rows; ++i) {
    for (std::int64_t j = 0; j < b.columns; ++j) {
      const std::int64_t y = 2 * (b.first_row + i), x = 2 * (b.first_column + j);
      const float* from = sums + (i * b.columns + j) * vectors * kLanes;
      for (int v = 0; v < vectors; ++v) {
        Vector across[Side][2];
        for (int column = 0; column < Side; ++column) {
          Vector m[Side];
          for (int row = 0; row < Side; ++row) m[row] = get(from + (row * Side + column) * size.sums_part + v * kLanes);
          gather_results(m, across[column]);
        }
        for (int row = 0; row < 2 && y + row < b.height; ++row) {
          Vector m[Side], result[2];
          for (int column = 0; column < Side; ++column) m[column] = across[column][row];
          gather_results(m, result);
          const std::int64_t pixel = (y + row) * b.width + x;
          finish(b, pixel, first + v * kLanes, result[0]);
          if (x + 1 < b.width) finish(b, pixel + 1, first + v * kLanes, result[1]);
        }
      }
    }
  }
}

/// Mean and sum of squares around it of `count` channels over the pixels that for_each_row(work(row of pixels,
/// pixels)) visits, twice.
template <typename ForEachRow>
void moments_over(std::int64_t row, std::int64_t count, std::int64_t pixels, float* mean, float* squares,
                  const ForEachRow& for_each_row) {
  for (std::int64_t c = 0; c < count; ++c) mean[c] = squares[c] = 0;
  for_each_row([&](const float* x, std::int64_t columns) {
    for (std::int64_t j = 0; j < columns; ++j) {
#pragma omp simd
      for (std::int64_t c = 0; c < count; ++c) mean[c] += x[j * row + c];
    }
  });
  for (std::int64_t c = 0; c < count; ++c) mean[c] /= static_cast<float>(pixels);
  for_each_row([&](const float* x, std::int64_t columns) {
    for (std::int64_t j = 0; j < columns; ++j) {
#pragma omp simd
      for (std::int64_t c = 0; c < count; ++c) squares[c] += (x[j * row + c] - mean[c]) * (x[j * row + c] - mean[c]);
    }
  });
}

void block_moments(const Conv3x3Block& b, std::int64_t first, std::int64_t count) {
  const auto least = [](std::int64_t p, std::int64_t q) { return p < q ? p : q; };
  const std::int64_t top = 2 * b.first_row, left = 2 * b.first_column;
  const std::int64_t height = least(2 * b.rows, b.height - top), width = least(2 * b.columns, b.width - left);
  moments_over(b.out, count, height * width, b.moments + first, b.moments + b.out + first, [&](const auto& work) {
    for (std::int64_t i = 0; i < height; ++i) work(b.result + ((top + i) * b.width + left) * b.out + first, width);
  });
}

template <int Side>
void run3x3_of(const Conv3x3Block& b, void* scratch) {
  const Buffers size(b);
  auto* input = static_cast<float*>(scratch);
  auto* tiles = reinterpret_cast<unsigned*>(static_cast<char*>(scratch) + size.input_bytes);
  auto* sums = reinterpret_cast<float*>(static_cast<char*>(scratch) + size.input_bytes + size.tiles_bytes);
  gather(b, size, input);
  transform_tiles<Side>(b, size, input, tiles);
  const std::int64_t units = size.channels / kPerUnit;
  for_panels(b.out, Side * Side, units, [&](std::int64_t first, int vectors, std::int64_t at) {
    const unsigned* weights = static_cast<const unsigned*>(b.weights) + at;
    for (std::int64_t p = 0; p < Side * Side; ++p) {
      multiply_panel(vectors, tiles + p * size.part, units, weights + p * units * vectors * kLanes, units,
                     sums + p * size.sums_part, vectors * kLanes, size.tiles);
    }
    results_of<Side>(b, size, sums, first, vectors);
    const std::int64_t left = b.out - first;
    if (b.moments != nullptr) block_moments(b, first, left < vectors * kLanes ? left : vectors * kLanes);
  });
}

void run3x3(const Conv3x3Block& b, void* scratch) {
  if (b.doubled) {
    run3x3_of<3>(b, scratch);
  } else {
    run3x3_of<4>(b, scratch);
  }
}

std::int64_t packed1x1_bytes(std::int64_t in, std::int64_t out) { return packed_bytes(in, out, 1); }

void pack1x1(const float* weight, std::int64_t in, std::int64_t out, void* packed) {
  pack(in, out, 1, packed, [&](std::int64_t o, std::int64_t k, std::int64_t) { return weight[o * in + k]; });
}

std::int64_t input1x1_bytes(const Conv1x1Rows& r) {
  return round_up(r.rows * padded_channels(r.in) / kPerUnit * 4, kAligned);
}

std::int64_t scratch1x1_bytes(const Conv1x1Rows& r) { return input1x1_bytes(r) + r.rows * kVectors * kLanes * 4; }

void run1x1(const Conv1x1Rows& r, void* scratch) {
  const std::int64_t channels = padded_channels(r.in);
  auto* input = static_cast<Stored*>(scratch);
  auto* sums = reinterpret_cast<float*>(static_cast<char*>(scratch) + input1x1_bytes(r));
  for (std::int64_t i = 0; i < r.rows; ++i) {
    const float* from = r.x + i * r.in;
    for (std::int64_t c = 0; c < channels; c += kLanes) {
      Vector value = {};
      const std::int64_t left = r.in - c;
      if (left >= kLanes) {
        value = get(from + c);
      } else {
        __builtin_memcpy(&value, from + c, static_cast<unsigned long>(left) * sizeof(float));
      }
      put(input + i * channels + c, value);
    }
  }
  const std::int64_t units = channels / kPerUnit;
  for_panels(r.out, 1, units, [&](std::int64_t first, int vectors, std::int64_t at) {
    multiply_panel(vectors, reinterpret_cast<const unsigned*>(input), units,
                   static_cast<const unsigned*>(r.weights) + at, units, sums, vectors * kLanes, r.rows);
    const std::int64_t count = r.out - first < vectors * kLanes ? r.out - first : vectors * kLanes;
    for (std::int64_t i = 0; i < r.rows; ++i) {
#pragma omp simd
      for (std::int64_t o = 0; o < count; ++o) {
        r.result[i * r.out + first + o] = sums[i * vectors * kLanes + o] + r.bias[first + o];
      }
    }
  });
}

void moments_of_rows(const float* x, std::int64_t rows, std::int64_t channels, float* moments) {
  moments_over(channels, channels, rows, moments, moments + channels, [&](const auto& work) { work(x, rows); });
}

}  // namespace

const ConvKernels VTISSUE_CONV_KERNELS = {packed3x3_bytes,  pack3x3, scratch3x3_bytes, run3x3, packed1x1_bytes, pack1x1,
                                          scratch1x1_bytes, run1x1,  moments_of_rows};

}  // namespace vtissue::models::kernels
