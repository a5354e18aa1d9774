#include "models/vit/vit.h"

#include <vector>

#include "core/error.h"

namespace vtissue::models {
namespace {

namespace nn = torch::nn;

constexpr double kInitStd = 0.02;

nn::LayerNorm layer_norm(const VitConfig& c) {
  return nn::LayerNorm(nn::LayerNormOptions({c.dim}).eps(c.layer_norm_eps));
}

}  // namespace

VitAttentionImpl::VitAttentionImpl(const VitConfig& config)
    : heads_(config.heads),
      qkv_(register_module("qkv", nn::Linear(config.dim, 3 * config.dim))),
      proj_(register_module("proj", nn::Linear(config.dim, config.dim))) {}

at::Tensor VitAttentionImpl::forward(const at::Tensor& x) {
  const std::int64_t batch = x.size(0);
  const std::int64_t tokens = x.size(1);
  const std::int64_t dim = x.size(2);
  const at::Tensor qkv = qkv_(x).view({batch, tokens, 3, heads_, dim / heads_}).permute({2, 0, 3, 1, 4});
  const at::Tensor mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
  return proj_(mixed.transpose(1, 2).reshape({batch, tokens, dim}));
}

VitMlpImpl::VitMlpImpl(const VitConfig& config)
    : kind_(config.mlp),
      fc1_(register_module("fc1", nn::Linear(config.dim, config.mlp_hidden))),
      fc2_(register_module(
          "fc2",
          nn::Linear(kind_ == VitConfig::Mlp::kSwiGlu ? config.mlp_hidden / 2 : config.mlp_hidden, config.dim))) {}

at::Tensor VitMlpImpl::forward(const at::Tensor& x) {
  const at::Tensor hidden = fc1_(x);
  if (kind_ == VitConfig::Mlp::kGelu) return fc2_(at::gelu(hidden));
  const auto halves = hidden.chunk(2, -1);
  return fc2_(at::silu(halves[0]) * halves[1]);
}

LayerScaleImpl::LayerScaleImpl(int dim, double init) : gamma_(register_parameter("gamma", at::full({dim}, init))) {}

VitBlockImpl::VitBlockImpl(const VitConfig& config)
    : norm1_(register_module("norm1", layer_norm(config))),
      attn_(register_module("attn", VitAttention(config))),
      norm2_(register_module("norm2", layer_norm(config))),
      mlp_(register_module("mlp", VitMlp(config))) {
  if (config.layer_scale) {
    ls1_ = register_module("ls1", LayerScale(config.dim, config.layer_scale_init));
    ls2_ = register_module("ls2", LayerScale(config.dim, config.layer_scale_init));
  }
}

at::Tensor VitBlockImpl::forward(at::Tensor x) {
  const at::Tensor attended = attn_(norm1_(x));
  x = x + (ls1_ ? ls1_(attended) : attended);
  const at::Tensor mapped = mlp_(norm2_(x));
  return x + (ls2_ ? ls2_(mapped) : mapped);
}

VitImpl::VitImpl(const VitConfig& config) : config_(config) {
  const int side = config.image_px / config.patch_px;
  cls_token_ = register_parameter("cls_token", at::zeros({1, 1, config.dim}));
  if (config.registers > 0) reg_token_ = register_parameter("reg_token", at::zeros({1, config.registers, config.dim}));
  pos_embed_ =
      register_parameter("pos_embed", at::zeros({1, side * side + (config.class_token_in_table ? 1 : 0), config.dim}));
  // timm nests the convolution in a module of its own.
  const auto patch_embed = register_module("patch_embed", std::make_shared<nn::Module>());
  proj_ = patch_embed->register_module(
      "proj", nn::Conv2d(nn::Conv2dOptions(3, config.dim, config.patch_px).stride(config.patch_px)));
  register_module("blocks", blocks_);
  for (int i = 0; i < config.depth; ++i) blocks_->push_back(VitBlock(config));
  norm_ = register_module("norm", layer_norm(config));

  const torch::NoGradGuard no_grad;
  const auto draw = [](at::Tensor t, double std) { t.normal_(0, std).clamp_(-2 * std, 2 * std); };
  draw(pos_embed_, kInitStd);
  draw(cls_token_, 1e-6);
  if (reg_token_.defined()) draw(reg_token_, 1e-6);
  for (const auto& module : modules(false)) {
    if (auto* linear = module->as<nn::Linear>()) {
      draw(linear->weight, kInitStd);
      linear->bias.zero_();
    }
  }
}

at::Tensor VitImpl::position_table(std::int64_t rows, std::int64_t columns) const {
  const std::int64_t side = config_.image_px / config_.patch_px;
  if (rows == side && columns == side) return pos_embed_;
  const std::int64_t prefix = config_.class_token_in_table ? 1 : 0;
  const at::Tensor grid =
      pos_embed_.slice(1, prefix).view({1, side, side, config_.dim}).permute({0, 3, 1, 2}).to(at::kFloat);
  const at::Tensor resized = at::_upsample_bicubic2d_aa(grid, {rows, columns}, /*align_corners=*/false)
                                 .permute({0, 2, 3, 1})
                                 .reshape({1, rows * columns, config_.dim})
                                 .to(pos_embed_.scalar_type());
  return prefix == 0 ? resized : at::cat({pos_embed_.slice(1, 0, prefix), resized}, 1);
}

at::Tensor VitImpl::embed(const at::Tensor& image) {
  if (image.size(2) % config_.patch_px != 0 || image.size(3) % config_.patch_px != 0) {
    throw Error(ErrorCode::kModel, "an image of {} x {} px is no multiple of the network's patch of {} px",
                image.size(3), image.size(2), config_.patch_px);
  }
  const std::int64_t batch = image.size(0);
  const at::Tensor map = proj_(image);
  const at::Tensor table = position_table(map.size(2), map.size(3));
  at::Tensor x = map.flatten(2).transpose(1, 2);
  std::vector<at::Tensor> parts{cls_token_.expand({batch, -1, -1})};
  if (reg_token_.defined()) parts.push_back(reg_token_.expand({batch, -1, -1}));
  if (config_.class_token_in_table) {
    parts[0] = parts[0] + table.slice(1, 0, 1);
    x = x + table.slice(1, 1);
  } else {
    x = x + table;
  }
  parts.push_back(x);
  return at::cat(parts, 1);
}

at::Tensor VitImpl::tokens(const at::Tensor& image) {
  at::Tensor x = embed(image);
  for (const auto& block : *blocks_) x = block->as<VitBlock>()->forward(x);
  return norm_(x);
}

}  // namespace vtissue::models
