#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

/// Convolutions and group norms of an autoencoder for inference on a processor (conv.h). Maps are float32 [B, h, w, C],
/// contiguous. A sample's result depends neither on the other samples nor on the number of threads.
namespace vtissue::models::kernels {

/// A map, and what a group norm of it needs.
struct FeatureMap {
  at::Tensor values;                 ///< [B, h, w, C]
  at::Tensor moments;                ///< [B, parts, 2, C]: of a part's pixels the mean and the sum of squares around it
  std::vector<std::int64_t> pixels;  ///< of each part
};

/// A map that no convolution here has made.
FeatureMap with_moments(const at::Tensor& values);

/// Group norm as one factor and one summand a channel.
class GroupNorm {
 public:
  struct Factors {
    at::Tensor scale;  ///< [B, C]
    at::Tensor shift;  ///< [B, C]
  };

  GroupNorm() = default;
  GroupNorm(const at::Tensor& weight, const at::Tensor& bias, std::int64_t groups, double eps);  ///< [C]

  Factors operator()(const FeatureMap& map) const;

 private:
  std::vector<float> weight_;
  std::vector<float> bias_;
  std::int64_t groups_ = 1;
  double eps_ = 0;
};

/// 3x3 convolution, stride 1, padding 1.
class PackedConv3x3 {
 public:
  PackedConv3x3() = default;
  /// weight [out, in, 3, 3], bias [out]. `dtype`: of the products, kFloat or, where the processor multiplies it,
  /// kBFloat16; sums are float32. `doubled`: the map is doubled by nearest neighbour first.
  PackedConv3x3(const at::Tensor& weight, const at::Tensor& bias, at::ScalarType dtype, bool doubled = false);

  /// x [B, h, w, in] → [B, h, w, out] or, doubled, [B, 2 h, 2 w, out]. Factors given: of silu(x * scale + shift).
  /// `residual`, of the result's shape or undefined, is added.
  FeatureMap operator()(const at::Tensor& x, const GroupNorm::Factors& factors = {},
                        const at::Tensor& residual = {}) const;

  /// The same without norms: the convolution alone, and relu(convolution + residual).
  at::Tensor plain(const at::Tensor& x) const;
  at::Tensor rectified(const at::Tensor& x, const at::Tensor& residual = {}) const;

  bool defined() const { return packed_.defined(); }

 private:
  /// What a call asks for besides the convolution.
  struct Extras {
    const GroupNorm::Factors& factors;
    const at::Tensor& residual;
    bool rectified;
    bool moments;
  };
  FeatureMap run(const at::Tensor& x, const Extras& extras) const;

  at::Tensor packed_;
  at::Tensor bias_;
  at::ScalarType dtype_ = at::kFloat;
  std::int64_t in_ = 0;
  bool doubled_ = false;
};

/// A linear layer over the channels of each pixel.
class PackedConv1x1 {
 public:
  PackedConv1x1() = default;
  PackedConv1x1(const at::Tensor& weight, const at::Tensor& bias, at::ScalarType dtype);  ///< [out, in, 1, 1], [out]

  at::Tensor operator()(const at::Tensor& x) const;

  bool defined() const { return packed_.defined(); }

 private:
  at::Tensor packed_;
  at::Tensor bias_;
  at::ScalarType dtype_ = at::kFloat;
  std::int64_t in_ = 0;
};

}  // namespace vtissue::models::kernels
