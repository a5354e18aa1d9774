#include "models/cancerfoundation/inference.h"

#include <string>

#include "models/cancerfoundation/binning.h"
#include "models/kernels/fused.h"

namespace vtissue::models {
namespace {

constexpr double kCfInferenceNormEps = 1e-5;

}  // namespace

CancerFoundationInference::CancerFoundationInference(CancerFoundationImpl& network,
                                                     const std::vector<std::int64_t>& ids, int bins,
                                                     at::ScalarType dtype, const at::Device& device, std::int64_t batch)
    : dim_(network.config().dim), heads_(network.config().heads), dtype_(dtype) {
  const torch::NoGradGuard no_grad;
  network.eval();
  const auto children = network.named_children();
  genes_ = children["gene_encoder"]->as<CfGeneEncoder>()->forward(at::tensor(ids, at::kLong)).to(device);
  at::Tensor digits = at::arange(-1, bins, at::kFloat);
  digits[0] = kCfClassValue;
  bins_ = children["value_encoder"]->as<CfValueEncoder>()->forward(digits.unsqueeze(0)).squeeze(0).to(device);

  const auto parameters = network.named_parameters();
  const std::int64_t rows = batch * static_cast<std::int64_t>(ids.size());
  for (int i = 0; i < network.config().layers; ++i) {
    const std::string name = "encoder.layers." + std::to_string(i) + ".";
    const auto row = [&](const char* part) {
      return parameters[name + part]
          .detach()
          .to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true)
          .view({1, -1});
    };
    const auto linear = [&](const std::string& part, const char* weight, const char* bias) {
      return kernels::PackedLinear(parameters[name + part + weight], parameters[name + part + bias], dtype, device,
                                   rows);
    };
    layers_.push_back({.qkv = linear("self_attn.", "in_proj_weight", "in_proj_bias"),
                       .out = linear("self_attn.out_proj.", "weight", "bias"),
                       .linear1 = linear("linear1.", "weight", "bias"),
                       .linear2 = linear("linear2.", "weight", "bias"),
                       .scale1 = row("norm1.weight"),
                       .shift1 = row("norm1.bias"),
                       .scale2 = row("norm2.weight"),
                       .shift2 = row("norm2.bias")});
  }
}

at::Tensor CancerFoundationInference::layer(const Layer& layer, const at::Tensor& state, const at::Tensor& qkv) const {
  const at::Tensor mixed = kernels::attention(qkv.narrow(2, 0, dim_).narrow(1, 0, state.size(1)),
                                              qkv.narrow(2, dim_, dim_), qkv.narrow(2, 2 * dim_, dim_), heads_);
  const at::Tensor h = kernels::add_norm(
      state, {.y = layer.out(mixed)},
      {.scale = layer.scale1, .shift = layer.shift1, .eps = kCfInferenceNormEps, .replaces_x = true}, dtype_);
  const at::Tensor mapped = layer.linear2(layer.linear1(h, kernels::Activation::kRelu));
  return kernels::add_norm(
      state, {.y = mapped},
      {.scale = layer.scale2, .shift = layer.shift2, .eps = kCfInferenceNormEps, .replaces_x = true}, dtype_);
}

CancerFoundationInference::Hidden CancerFoundationInference::forward(const at::Tensor& values, bool with_tokens) const {
  const at::Tensor index = (values.to(at::kLong) + 1).clamp_min(0);
  const at::Tensor state = at::embedding(bins_, index).add_(genes_);
  at::Tensor h = state.to(dtype_);
  for (std::size_t i = 0; i + 1 < layers_.size(); ++i) h = layer(layers_[i], state, layers_[i].qkv(h));
  const at::Tensor qkv = layers_.back().qkv(h);
  const at::Tensor cls = state.narrow(1, 0, 1).clone(at::MemoryFormat::Contiguous);  // contiguous() may alias
  layer(layers_.back(), cls, qkv);
  if (with_tokens) layer(layers_.back(), state, qkv);
  return {cls.select(1, 0), with_tokens ? state : at::Tensor()};
}

}  // namespace vtissue::models
