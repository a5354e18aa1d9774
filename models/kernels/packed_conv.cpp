#include "models/kernels/packed_conv.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "models/kernels/conv.h"
#include "models/kernels/scratch.h"
#include "models/parallel.h"
#include "models/torch.h"

namespace vtissue::models::kernels {
namespace {

/// The instruction set that LibTorch uses, as in fused.cpp.
const ConvKernels& conv_kernels([[maybe_unused]] at::ScalarType dtype) {
#if defined(__x86_64__)
  static const std::string capability = at::get_cpu_capability();
  static const bool bf16 = capability == "AVX512" && __builtin_cpu_supports("avx512bf16") != 0;
  if (dtype == at::kBFloat16 && bf16) return kConvAvx512Bf16;
  if (capability == "AVX512") return kConvAvx512;
  if (capability == "AVX2") return kConvAvx2;
#endif
  return kConvDefault;
}

std::int64_t parts_of(std::int64_t whole, std::int64_t part) { return (whole + part - 1) / part; }

/// A map's tiles in blocks of about equal size. They are a matter of the map alone: the moments are theirs.
struct ConvBlocks {
  std::int64_t tile_rows, tile_columns;  ///< of the map
  std::int64_t rows, columns;            ///< of a block
  std::int64_t down, across;             ///< blocks

  ConvBlocks(std::int64_t height, std::int64_t width)
      : tile_rows(parts_of(height, 2)), tile_columns(parts_of(width, 2)) {
    constexpr std::int64_t kColumns = 16;
    constexpr std::int64_t kMostTiles = 64;    // their transforms are some 2 MB at 512 channels
    constexpr std::int64_t kBlocksOfAMap = 8;  // for as many threads
    columns = parts_of(tile_columns, parts_of(tile_columns, kColumns));
    const std::int64_t tiles =
        std::clamp(tile_rows * tile_columns / kBlocksOfAMap, columns, std::max(kMostTiles, columns));
    rows = parts_of(tile_rows, parts_of(tile_rows, tiles / columns));
    down = parts_of(tile_rows, rows);
    across = parts_of(tile_columns, columns);
  }

  void place(std::int64_t index, Conv3x3Block& block) const {
    block.first_row = index / across * rows;
    block.first_column = index % across * columns;
    block.rows = std::min(rows, tile_rows - block.first_row);
    block.columns = std::min(columns, tile_columns - block.first_column);
  }

  /// Of each block, at most.
  std::vector<std::int64_t> pixels(std::int64_t height, std::int64_t width) const {
    std::vector<std::int64_t> result;
    for (std::int64_t i = 0; i < down * across; ++i) {
      Conv3x3Block block;
      place(i, block);
      result.push_back(std::min(2 * block.rows, height - 2 * block.first_row) *
                       std::min(2 * block.columns, width - 2 * block.first_column));
    }
    return result;
  }
};

at::Tensor empty_floats(at::IntArrayRef shape) { return at::empty(shape, at::TensorOptions(at::kFloat)); }

at::Tensor empty_bytes(std::int64_t count) { return at::empty({count}, at::TensorOptions(at::kByte)); }

at::Tensor conv_floats(const at::Tensor& tensor) {
  return tensor.detach().to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
}

std::vector<float> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = conv_floats(tensor).flatten();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

}  // namespace

FeatureMap with_moments(const at::Tensor& values) {
  constexpr std::int64_t kPixels = 64;
  const std::int64_t batch = values.size(0), all = values.size(1) * values.size(2), channels = values.size(3);
  const std::int64_t parts = parts_of(all, kPixels);
  FeatureMap map{.values = values, .moments = empty_floats({batch, parts, 2, channels})};
  for (std::int64_t i = 0; i < parts; ++i) map.pixels.push_back(std::min(kPixels, all - i * kPixels));
  const ConvKernels& kernels = conv_kernels(at::kFloat);
  const float* x = values.const_data_ptr<float>();
  float* moments = map.moments.mutable_data_ptr<float>();
  parallel_for(0, batch * parts, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t part = i % parts;
      kernels.moments(x + (i / parts * all + part * kPixels) * channels, map.pixels[static_cast<std::size_t>(part)],
                      channels, moments + i * 2 * channels);
    }
  });
  return map;
}

GroupNorm::GroupNorm(const at::Tensor& weight, const at::Tensor& bias, std::int64_t groups, double eps)
    : weight_(values_of(weight)), bias_(values_of(bias)), groups_(groups), eps_(eps) {}

GroupNorm::Factors GroupNorm::operator()(const FeatureMap& map) const {
  const std::int64_t batch = map.moments.size(0), parts = map.moments.size(1), channels = map.moments.size(3);
  const std::int64_t of_group = channels / groups_;
  Factors result{.scale = empty_floats({batch, channels}), .shift = empty_floats({batch, channels})};
  float* scale = result.scale.mutable_data_ptr<float>();
  float* shift = result.shift.mutable_data_ptr<float>();
  double all_pixels = 0;
  for (const std::int64_t pixels : map.pixels) all_pixels += static_cast<double>(pixels);
  const double count = all_pixels * static_cast<double>(of_group);
  for (std::int64_t b = 0; b < batch; ++b) {
    const float* moments = map.moments.const_data_ptr<float>() + b * parts * 2 * channels;
    for (std::int64_t first = 0; first < channels; first += of_group) {
      double mean = 0, squares = 0;
      for (std::int64_t p = 0; p < parts; ++p) {
        const auto pixels = static_cast<double>(map.pixels[static_cast<std::size_t>(p)]);
        for (std::int64_t c = first; c < first + of_group; ++c) mean += pixels * moments[p * 2 * channels + c];
      }
      mean /= count;
      for (std::int64_t p = 0; p < parts; ++p) {
        const auto pixels = static_cast<double>(map.pixels[static_cast<std::size_t>(p)]);
        for (std::int64_t c = first; c < first + of_group; ++c) {
          const double off = moments[p * 2 * channels + c] - mean;
          squares += moments[(p * 2 + 1) * channels + c] + pixels * off * off;
        }
      }
      const double factor = 1 / std::sqrt(squares / count + eps_);
      for (std::int64_t c = first; c < first + of_group; ++c) {
        const auto i = static_cast<std::size_t>(c);
        scale[b * channels + c] = static_cast<float>(weight_[i] * factor);
        shift[b * channels + c] = static_cast<float>(bias_[i] - mean * weight_[i] * factor);
      }
    }
  }
  return result;
}

PackedConv3x3::PackedConv3x3(const at::Tensor& weight, const at::Tensor& bias, at::ScalarType dtype, bool doubled)
    : bias_(conv_floats(bias)), dtype_(dtype), in_(weight.size(1)), doubled_(doubled) {
  const ConvKernels& kernels = conv_kernels(dtype);
  const std::int64_t out = weight.size(0);
  packed_ = empty_bytes(kernels.packed3x3_bytes(in_, out, doubled));
  kernels.pack3x3(conv_floats(weight).const_data_ptr<float>(), in_, out, doubled, packed_.mutable_data_ptr());
}

FeatureMap PackedConv3x3::operator()(const at::Tensor& x, const GroupNorm::Factors& factors,
                                     const at::Tensor& residual) const {
  return run(x, {.factors = factors, .residual = residual, .rectified = false, .moments = true});
}

at::Tensor PackedConv3x3::plain(const at::Tensor& x) const {
  return run(x, {.factors = {}, .residual = {}, .rectified = false, .moments = false}).values;
}

at::Tensor PackedConv3x3::rectified(const at::Tensor& x, const at::Tensor& residual) const {
  return run(x, {.factors = {}, .residual = residual, .rectified = true, .moments = false}).values;
}

FeatureMap PackedConv3x3::run(const at::Tensor& x, const Extras& extras) const {
  const GroupNorm::Factors& factors = extras.factors;
  const at::Tensor& residual = extras.residual;
  TORCH_CHECK(x.is_contiguous() && x.size(3) == in_, "a map for a convolution of ", in_, " channels is ", x.sizes());
  const ConvKernels& kernels = conv_kernels(dtype_);
  const std::int64_t batch = x.size(0), out = bias_.size(0);
  const std::int64_t height = (doubled_ ? 2 : 1) * x.size(1), width = (doubled_ ? 2 : 1) * x.size(2);
  const ConvBlocks blocks(height, width);
  const std::int64_t parts = blocks.down * blocks.across;
  FeatureMap map{.values = empty_floats({batch, height, width, out}),
                 .moments = extras.moments ? empty_floats({batch, parts, 2, out}) : at::Tensor(),
                 .pixels = blocks.pixels(height, width)};
  TORCH_CHECK(!residual.defined() || (residual.is_contiguous() && residual.sizes() == map.values.sizes()),
              "a residual is ", residual.sizes(), ", the result ", map.values.sizes());
  const bool normed = factors.scale.defined();
  Conv3x3Block whole{.x = x.const_data_ptr<float>(),
                     .scale = normed ? factors.scale.const_data_ptr<float>() : nullptr,
                     .shift = normed ? factors.shift.const_data_ptr<float>() : nullptr,
                     .weights = packed_.const_data_ptr(),
                     .bias = bias_.const_data_ptr<float>(),
                     .residual = residual.defined() ? residual.const_data_ptr<float>() : nullptr,
                     .rectified = extras.rectified,
                     .result = map.values.mutable_data_ptr<float>(),
                     .moments = extras.moments ? map.moments.mutable_data_ptr<float>() : nullptr,
                     .height = height,
                     .width = width,
                     .in = in_,
                     .out = out,
                     .rows = blocks.rows,
                     .columns = blocks.columns,
                     .doubled = doubled_};
  const auto bytes = static_cast<std::size_t>(kernels.scratch3x3_bytes(whole));
  const std::int64_t x_sample = x.stride(0), result_sample = map.values.stride(0);
  parallel_for(0, batch * parts, 1, [&](std::int64_t first, std::int64_t last) {
    void* scratch = thread_scratch(bytes);
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t sample = i / parts;
      Conv3x3Block block = whole;
      block.x += sample * x_sample;
      if (normed) {
        block.scale += sample * in_;
        block.shift += sample * in_;
      }
      if (block.residual != nullptr) block.residual += sample * result_sample;
      block.result += sample * result_sample;
      if (block.moments != nullptr) block.moments += i * 2 * out;
      blocks.place(i % parts, block);
      kernels.run3x3(block, scratch);
    }
  });
  return map;
}

PackedConv1x1::PackedConv1x1(const at::Tensor& weight, const at::Tensor& bias, at::ScalarType dtype)
    : bias_(conv_floats(bias)), dtype_(dtype), in_(weight.size(1)) {
  const ConvKernels& kernels = conv_kernels(dtype);
  const std::int64_t out = weight.size(0);
  packed_ = empty_bytes(kernels.packed1x1_bytes(in_, out));
  kernels.pack1x1(conv_floats(weight).const_data_ptr<float>(), in_, out, packed_.mutable_data_ptr());
}

at::Tensor PackedConv1x1::operator()(const at::Tensor& x) const {
  TORCH_CHECK(x.is_contiguous() && x.size(3) == in_, "a map for a layer of ", in_, " channels is ", x.sizes());
  constexpr std::int64_t kRowsAtATime = 96;
  const ConvKernels& kernels = conv_kernels(dtype_);
  const std::int64_t rows = x.numel() / in_, out = bias_.size(0);
  at::Tensor result = empty_floats({x.size(0), x.size(1), x.size(2), out});
  const Conv1x1Rows whole{.x = x.const_data_ptr<float>(),
                          .weights = packed_.const_data_ptr(),
                          .bias = bias_.const_data_ptr<float>(),
                          .result = result.mutable_data_ptr<float>(),
                          .rows = kRowsAtATime,
                          .in = in_,
                          .out = out};
  const auto bytes = static_cast<std::size_t>(kernels.scratch1x1_bytes(whole));
  parallel_for(0, parts_of(rows, kRowsAtATime), 1, [&](std::int64_t first, std::int64_t last) {
    void* scratch = thread_scratch(bytes);
    for (std::int64_t i = first; i < last; ++i) {
      Conv1x1Rows part = whole;
      const std::int64_t row = i * kRowsAtATime;
      part.x += row * in_;
      part.result += row * out;
      part.rows = std::min(kRowsAtATime, rows - row);
      kernels.run1x1(part, scratch);
    }
  });
  return result;
}

}  // namespace vtissue::models::kernels
