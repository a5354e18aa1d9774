// Convolutions and group norms of kernels/packed_conv.h against LibTorch's in float64, and each instruction set's loops
// against the same.

#include "models/kernels/packed_conv.h"

#include <limits>

#include "models/kernels/conv.h"
#include "models/kernels/scratch.h"
#include "tests/models/golden.h"

namespace vtissue::models::kernels {
namespace {

/// Float32 products and sums of some hundred channels; bfloat16 rounds weights and transformed tiles to 8 bits.
constexpr double kF32 = 3e-6;
constexpr double kBf16 = 0.01;

struct Size {
  std::int64_t height, width, in, out;  ///< of the convolution's input
};

/// Whole and broken tiles, vectors and panels; blocks of one tile; the maps of the published networks.
constexpr Size kSizes[] = {{8, 12, 32, 64}, {7, 13, 24, 70}, {1, 1, 8, 3},     {2, 40, 130, 130},
                           {5, 3, 17, 40},  {40, 70, 3, 16}, {32, 32, 64, 33}, {16, 16, 512, 128}};

at::Tensor draw(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat);
}

at::Tensor to_map(const at::Tensor& image) { return image.permute({0, 2, 3, 1}).contiguous(); }

/// A layer, what goes in, and LibTorch's result in float64, as maps.
struct ConvCase {
  ConvCase(const Size& size, bool doubled, bool with_silu, bool with_residual, std::int64_t batch = 2)
      : x(draw({batch, size.height, size.width, size.in}, 1) + 0.5),
        weight(draw({size.out, size.in, 3, 3}, 2) / std::sqrt(9.0 * static_cast<double>(size.in))),
        bias(draw({size.out}, 3)) {
    const std::int64_t factor = doubled ? 2 : 1;
    at::Tensor seen = x.to(at::kDouble);
    if (with_silu) {
      factors = {.scale = draw({batch, size.in}, 4), .shift = draw({batch, size.in}, 5)};
      const auto per_pixel = [&](const at::Tensor& t) { return t.to(at::kDouble).view({batch, 1, 1, size.in}); };
      seen = at::silu(seen * per_pixel(factors.scale) + per_pixel(factors.shift));
    }
    seen = seen.permute({0, 3, 1, 2});
    if (doubled) seen = at::upsample_nearest2d(seen, {factor * size.height, factor * size.width});
    expected = to_map(at::conv2d(seen, weight.to(at::kDouble), bias.to(at::kDouble), 1, 1));
    if (with_residual) {
      residual = draw(expected.sizes(), 6);
      expected = expected + residual;
    }
  }

  at::Tensor x, weight, bias, residual, expected;
  GroupNorm::Factors factors;
};

TEST(PackedConv, IsTheConvolution) {
  const at::NoGradGuard no_grad;
  for (const Size& size : kSizes) {
    for (const bool doubled : {false, true}) {
      for (const bool more : {false, true}) {
        SCOPED_TRACE(fmt::format("{} x {}, {} to {}{}{}", size.height, size.width, size.in, size.out,
                                 doubled ? ", doubled" : "", more ? ", silu and residual" : ""));
        const ConvCase c(size, doubled, more, more);
        for (const auto dtype : {at::kFloat, at::kBFloat16}) {
          const PackedConv3x3 conv(c.weight, c.bias, dtype, doubled);
          expect_close(conv(c.x, c.factors, c.residual).values, c.expected, dtype == at::kFloat ? kF32 : kBf16);
        }
      }
    }
  }
}

TEST(PackedConv, RectifiesAndAddsASkipWithoutNorms) {
  const at::NoGradGuard no_grad;
  for (const Size& size : kSizes) {
    for (const bool doubled : {false, true}) {
      SCOPED_TRACE(fmt::format("{} x {}, {} to {}, doubled {}", size.height, size.width, size.in, size.out, doubled));
      const ConvCase with(size, doubled, false, true), without(size, doubled, false, false);
      for (const auto dtype : {at::kFloat, at::kBFloat16}) {
        const double tolerance = dtype == at::kFloat ? kF32 : kBf16;
        const PackedConv3x3 conv(with.weight, with.bias, dtype, doubled);
        expect_close(conv.plain(with.x), without.expected, tolerance);
        expect_close(conv.rectified(with.x), without.expected.clamp_min(0), tolerance);
        expect_close(conv.rectified(with.x, with.residual), with.expected.clamp_min(0), tolerance);
      }
    }
  }
}

TEST(PackedConv, ARectifierKeepsWhatIsNotANumber) {
  const at::NoGradGuard no_grad;
  for (const std::int64_t out : {3, 64}) {
    const PackedConv3x3 conv(draw({out, 8, 3, 3}, 1), at::full({out}, std::numeric_limits<double>::quiet_NaN()),
                             at::kFloat);
    EXPECT_TRUE(at::isnan(conv.rectified(draw({1, 4, 4, 8}, 2))).all().item<bool>());
  }
}

TEST(PackedConv, MomentsAreThoseOfItsResult) {
  const at::NoGradGuard no_grad;
  for (const Size& size : {Size{7, 13, 24, 64}, Size{40, 70, 3, 16}, Size{64, 64, 32, 32}}) {
    const ConvCase c(size, false, false, false);
    // Far from zero, where a sum of squares alone would lose the variance.
    const FeatureMap map = PackedConv3x3(c.weight, c.bias + 300, at::kFloat)(c.x);
    const at::Tensor weight = draw({size.out}, 7), bias = draw({size.out}, 8);
    constexpr std::int64_t kGroups = 4;
    const at::Tensor image = map.values.to(at::kDouble).permute({0, 3, 1, 2});
    const at::Tensor expected =
        to_map(at::group_norm(image, kGroups, weight.to(at::kDouble), bias.to(at::kDouble), 1e-6));
    const GroupNorm norm(weight, bias, kGroups, 1e-6);
    for (const FeatureMap& given : {map, with_moments(map.values)}) {
      const GroupNorm::Factors factors = norm(given);
      const auto per_pixel = [&](const at::Tensor& t) { return t.view({2, 1, 1, size.out}); };
      expect_close(map.values * per_pixel(factors.scale) + per_pixel(factors.shift), expected, 1e-4);
    }
  }
}

TEST(PackedConv, PointwiseIsALinearLayer) {
  const at::NoGradGuard no_grad;
  for (const Size& size : kSizes) {
    const at::Tensor x = draw({2, size.height, size.width, size.in}, 1);
    const at::Tensor weight = draw({size.out, size.in, 1, 1}, 2), bias = draw({size.out}, 3);
    const at::Tensor expected = at::linear(x.to(at::kDouble), weight.to(at::kDouble).flatten(1), bias.to(at::kDouble));
    expect_close(PackedConv1x1(weight, bias, at::kFloat)(x), expected, kF32);
    expect_close(PackedConv1x1(weight, bias, at::kBFloat16)(x), expected, kBf16);
  }
}

TEST(PackedConv, RefusesAnotherMap) {
  const PackedConv3x3 conv(draw({4, 8, 3, 3}, 1), draw({4}, 2), at::kFloat);
  EXPECT_THROW((void)conv(draw({1, 4, 4, 7}, 3)), c10::Error);
  EXPECT_THROW((void)conv(draw({1, 4, 4, 8}, 3), {}, draw({1, 4, 5, 4}, 4)), c10::Error);
}

/// The whole map of one sample as one block.
at::Tensor run_alone(const ConvKernels& kernels, const ConvCase& c, bool doubled) {
  const std::int64_t in = c.x.size(3), out = c.bias.size(0);
  at::Tensor packed = at::empty({kernels.packed3x3_bytes(in, out, doubled)}, at::kByte);
  kernels.pack3x3(c.weight.contiguous().const_data_ptr<float>(), in, out, doubled, packed.mutable_data_ptr());
  at::Tensor result = at::empty(c.expected.sizes(), at::kFloat);
  Conv3x3Block block{.x = c.x.const_data_ptr<float>(),
                     .scale = c.factors.scale.const_data_ptr<float>(),
                     .shift = c.factors.shift.const_data_ptr<float>(),
                     .weights = packed.const_data_ptr(),
                     .bias = c.bias.const_data_ptr<float>(),
                     .residual = c.residual.const_data_ptr<float>(),
                     .result = result.mutable_data_ptr<float>(),
                     .height = result.size(1),
                     .width = result.size(2),
                     .in = in,
                     .out = out,
                     .rows = (result.size(1) + 1) / 2,
                     .columns = (result.size(2) + 1) / 2,
                     .doubled = doubled};
  kernels.run3x3(block, thread_scratch(static_cast<std::size_t>(kernels.scratch3x3_bytes(block))));
  return result;
}

TEST(PackedConv, EveryInstructionSetComputesIt) {
  const at::NoGradGuard no_grad;
  struct Kernels {
    const char* name;
    const ConvKernels* kernels;
    bool supported;
    double tolerance;
  };
  std::vector<Kernels> all = {{"default", &kConvDefault, true, kF32}};
#if defined(__x86_64__)
  const bool avx512 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0;
  all.push_back({"avx2", &kConvAvx2, __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0, kF32});
  all.push_back({"avx512", &kConvAvx512, avx512, kF32});
  all.push_back({"avx512bf16", &kConvAvx512Bf16, avx512 && __builtin_cpu_supports("avx512bf16") != 0, kBf16});
#endif
  for (const Kernels& kernels : all) {
    if (!kernels.supported) continue;
    for (const Size& size : {Size{7, 13, 24, 70}, Size{6, 10, 40, 3}}) {
      for (const bool doubled : {false, true}) {
        SCOPED_TRACE(kernels.name);
        const ConvCase c(size, doubled, true, true, /*batch=*/1);
        expect_close(run_alone(*kernels.kernels, c, doubled), c.expected, kernels.tolerance);
      }
    }
  }
}

}  // namespace
}  // namespace vtissue::models::kernels
