#pragma once

#include <ATen/core/Tensor.h>

namespace vtissue::models::kernels {

enum class Activation { kNone, kRelu, kGelu, kGeluTanh };

/// A linear layer for inference: y = activation(x W^T + b). On a processor the weight is laid out once for oneDNN,
/// which then also computes the activation; on any other device it is an ordinary linear in the weight's type. Not
/// trainable. A row's result does not depend on the other rows as long as the number of rows stays the same.
class PackedLinear {
 public:
  PackedLinear() = default;
  /// weight [out, in], bias [out] or undefined; both are copied in `dtype` (kFloat or kBFloat16) to `device`. `rows`:
  /// how many x usually has, for the choice of the layout.
  PackedLinear(const at::Tensor& weight, const at::Tensor& bias, at::ScalarType dtype, const at::Device& device,
               std::int64_t rows);

  /// x [..., in] of the layer's dtype, contiguous → [..., out].
  at::Tensor operator()(const at::Tensor& x, Activation activation = Activation::kNone) const;

  bool defined() const { return weight_.defined(); }
  std::int64_t out_features() const { return out_features_; }

 private:
  at::Tensor weight_;
  at::Tensor bias_;
  std::int64_t out_features_ = 0;
  bool packed_ = false;
};

}  // namespace vtissue::models::kernels
