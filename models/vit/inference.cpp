#include "models/vit/inference.h"

#include <string>

#include "core/error.h"
#include "models/kernels/fused.h"

namespace vtissue::models {

using kernels::Activation;
using kernels::PackedLinear;

VitInference::VitInference(VitImpl& network, at::ScalarType dtype, const at::Device& device, std::int64_t batch)
    : config_(network.config()), dtype_(dtype) {
  const torch::NoGradGuard no_grad;
  const auto parameters = network.named_parameters();
  const std::int64_t side = config_.image_px / config_.patch_px;
  const std::int64_t prefix = 1 + config_.registers;
  const std::int64_t rows = batch * (side * side + prefix);
  const auto row = [&](const std::string& name) {
    return parameters[name].detach().to(device, at::kFloat).view({1, -1}).contiguous();
  };
  const auto linear = [&](const std::string& name) {
    return PackedLinear(parameters[name + ".weight"], parameters[name + ".bias"], dtype, device, rows);
  };
  patch_ = PackedLinear(parameters["patch_embed.proj.weight"].flatten(1), parameters["patch_embed.proj.bias"],
                        at::kFloat, device, batch * side * side);
  const at::Tensor table = parameters["pos_embed"].detach().to(device, at::kFloat);
  at::Tensor cls = parameters["cls_token"].detach().to(device, at::kFloat);
  if (config_.class_token_in_table) cls = cls + table.slice(1, 0, 1);
  prefix_ = config_.registers > 0 ? at::cat({cls, parameters["reg_token"].detach().to(device, at::kFloat)}, 1) : cls;
  table_ = table.slice(1, config_.class_token_in_table ? 1 : 0).contiguous();
  for (int i = 0; i < config_.depth; ++i) {
    const std::string name = "blocks." + std::to_string(i) + ".";
    Block block;
    block.scale1 = row(name + "norm1.weight");
    block.shift1 = row(name + "norm1.bias");
    block.scale2 = row(name + "norm2.weight");
    block.shift2 = row(name + "norm2.bias");
    if (config_.layer_scale) {
      block.gate1 = row(name + "ls1.gamma");
      block.gate2 = row(name + "ls2.gamma");
    }
    block.qkv = linear(name + "attn.qkv");
    block.proj = linear(name + "attn.proj");
    block.fc1 = linear(name + "mlp.fc1");
    block.fc2 = linear(name + "mlp.fc2");
    blocks_.push_back(std::move(block));
  }
  scale_ = row("norm.weight");
  shift_ = row("norm.bias");
}

at::Tensor VitInference::embed(const at::Tensor& image) const {
  const std::int64_t batch = image.size(0), p = config_.patch_px;
  if (image.size(2) % p != 0 || image.size(3) % p != 0) {
    throw Error(ErrorCode::kModel, "an image of {} x {} px is no multiple of the network's patch of {} px",
                image.size(3), image.size(2), p);
  }
  const std::int64_t rows = image.size(2) / p, columns = image.size(3) / p;
  const at::Tensor patches = image.reshape({batch, 3, rows, p, columns, p})
                                 .permute({0, 2, 4, 1, 3, 5})
                                 .reshape({batch, rows * columns, 3 * p * p});
  at::Tensor table = table_;
  const std::int64_t side = config_.image_px / p;
  if (rows != side || columns != side) {
    const at::Tensor grid = table_.view({1, side, side, config_.dim}).permute({0, 3, 1, 2});
    table = at::_upsample_bicubic2d_aa(grid, {rows, columns}, /*align_corners=*/false)
                .permute({0, 2, 3, 1})
                .reshape({1, rows * columns, config_.dim});
  }
  return at::cat({prefix_.expand({batch, -1, -1}), patch_(patches).add_(table)}, 1);
}

at::Tensor VitInference::mlp(const Block& block, const at::Tensor& h) const {
  if (config_.mlp == VitConfig::Mlp::kGelu) return block.fc2(block.fc1(h, Activation::kGelu));
  return block.fc2(kernels::swiglu(block.fc1(h)));
}

at::Tensor VitInference::norm_before(std::size_t block, const at::Tensor& state, const at::Tensor& y,
                                     const at::Tensor& gate) const {
  const bool last = block == blocks_.size();
  const kernels::Norm norm{.scale = last ? scale_ : blocks_[block].scale1,
                           .shift = last ? shift_ : blocks_[block].shift1,
                           .eps = config_.layer_norm_eps};
  return kernels::add_norm(state, {.y = y, .gate = gate}, norm, last ? at::kFloat : dtype_);
}

at::Tensor VitInference::run(const at::Tensor& state, std::size_t count) const {
  const std::int64_t dim = config_.dim;
  at::Tensor h = norm_before(0, state, {}, {});
  for (std::size_t i = 0; i < count; ++i) {
    const Block& block = blocks_[i];
    const at::Tensor qkv = block.qkv(h);
    const at::Tensor attended = block.proj(
        kernels::attention(qkv.narrow(2, 0, dim), qkv.narrow(2, dim, dim), qkv.narrow(2, 2 * dim, dim), config_.heads));
    h = kernels::add_norm(state, {.y = attended, .gate = block.gate1},
                          {.scale = block.scale2, .shift = block.shift2, .eps = config_.layer_norm_eps}, dtype_);
    h = norm_before(i + 1, state, mlp(block, h), block.gate2);
  }
  return h;
}

at::Tensor VitInference::tokens(const at::Tensor& image) const { return run(embed(image), blocks_.size()); }

at::Tensor VitInference::forward(const at::Tensor& image) const {
  const at::Tensor state = embed(image);
  const Block& block = blocks_.back();
  const std::int64_t dim = config_.dim;
  const at::Tensor qkv = block.qkv(run(state, blocks_.size() - 1));
  const at::Tensor cls = state.narrow(1, 0, 1).contiguous();
  const at::Tensor attended = block.proj(kernels::attention(
      qkv.narrow(2, 0, dim).narrow(1, 0, 1), qkv.narrow(2, dim, dim), qkv.narrow(2, 2 * dim, dim), config_.heads));
  const at::Tensor h =
      kernels::add_norm(cls, {.y = attended, .gate = block.gate1},
                        {.scale = block.scale2, .shift = block.shift2, .eps = config_.layer_norm_eps}, dtype_);
  return norm_before(blocks_.size(), cls, mlp(block, h), block.gate2).select(1, 0);
}

}  // namespace vtissue::models
