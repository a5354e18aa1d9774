#include "models/kernels/packed_linear.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>

#include "models/torch.h"

namespace vtissue::models::kernels {
namespace {

// oneDNN's own headers are not part of LibTorch's package; its operators are reached by name.
using Reorder = at::Tensor(const at::Tensor&, std::optional<std::int64_t>);
using Pointwise = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                             c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

template <typename Signature>
std::optional<c10::TypedOperatorHandle<Signature>> find_operator(const char* name) {
  const auto schema = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!schema) return std::nullopt;
  return schema->typed<Signature>();
}

const auto& reorder() {
  static const auto handle = find_operator<Reorder>("mkldnn::_reorder_linear_weight");
  return handle;
}

const auto& pointwise() {
  static const auto handle = find_operator<Pointwise>("mkldnn::_linear_pointwise");
  return handle;
}

/// The weight in oneDNN's layout, or undefined where this LibTorch or this processor has none for the type.
at::Tensor pack(const at::Tensor& weight, std::int64_t rows) {
  if (!weight.is_cpu() || !reorder() || !pointwise()) return {};
  try {
    return reorder()->call(weight, rows);
  } catch (const c10::Error&) {
    return {};  // bfloat16 needs AVX-512
  }
}

at::Tensor activated(const at::Tensor& y, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return y;
    case Activation::kRelu:
      return at::relu(y);
    case Activation::kGelu:
      return at::gelu(y);
    case Activation::kGeluTanh:
      return at::gelu(y, "tanh");
  }
  return y;
}

}  // namespace

PackedLinear::PackedLinear(const at::Tensor& weight, const at::Tensor& bias, at::ScalarType dtype,
                           const at::Device& device, std::int64_t rows)
    : out_features_(weight.size(0)) {
  const c10::InferenceMode inference;
  const at::Tensor plain = weight.detach().to(device, dtype, /*non_blocking=*/false, /*copy=*/true).contiguous();
  if (bias.defined()) bias_ = bias.detach().to(device, dtype, /*non_blocking=*/false, /*copy=*/true).contiguous();
  weight_ = pack(plain, rows);
  packed_ = weight_.defined();
  if (!packed_) weight_ = plain;
}

at::Tensor PackedLinear::operator()(const at::Tensor& x, Activation activation) const {
  if (!packed_)
    return activated(at::linear(x, weight_, bias_.defined() ? std::optional(bias_) : std::nullopt), activation);
  std::string_view name = "none";
  std::optional<std::string_view> algorithm;
  switch (activation) {
    case Activation::kNone:
      break;
    case Activation::kRelu:
      name = "relu";
      break;
    case Activation::kGelu:
      name = "gelu", algorithm = "none";
      break;
    case Activation::kGeluTanh:
      name = "gelu", algorithm = "tanh";
      break;
  }
  return pointwise()->call(x, weight_, bias_.defined() ? std::optional(bias_) : std::nullopt, name,
                           c10::List<std::optional<at::Scalar>>(), algorithm);
}

}  // namespace vtissue::models::kernels
