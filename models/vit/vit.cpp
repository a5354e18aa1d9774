#include "models/vit/vit.h"

#include <cmath>

#include "models/json_value.h"

namespace vtissue::models {
namespace {

namespace nn = torch::nn;

constexpr double kInitStd = 0.02;

nn::LayerNorm layer_norm(const VitConfig& c) {
  return nn::LayerNorm(nn::LayerNormOptions({c.dim}).eps(c.layer_norm_eps));
}

/// The architectures of timm that the checkpoints name; "model_args" change them.
VitConfig timm_base(const std::string& architecture) {
  VitConfig c;
  if (architecture == "vit_base_patch16_224") {
    c.dim = 768, c.depth = 12, c.heads = 12;
  } else if (architecture == "vit_large_patch16_224") {
    c.dim = 1024, c.depth = 24, c.heads = 16;
  } else if (architecture == "vit_giant_patch14_224") {
    c.patch_px = 14, c.dim = 1408, c.depth = 40, c.heads = 16;
  } else if (architecture == "vit_giant_patch14_reg4_dinov2") {
    c.image_px = 518, c.patch_px = 14, c.dim = 1536, c.depth = 40, c.heads = 24;
    c.mlp = VitConfig::Mlp::kSwiGlu, c.registers = 4, c.class_token_in_table = false;
  } else {
    throw Error(ErrorCode::kModel,
                "config: \"architecture\" is \"{}\"; known are \"vit\" and timm's vit_base_patch16_224, "
                "vit_large_patch16_224, vit_giant_patch14_224, vit_giant_patch14_reg4_dinov2",
                architecture);
  }
  c.layer_scale = architecture == "vit_giant_patch14_reg4_dinov2";
  return c;
}

double timm_mlp_ratio(const std::string& architecture) {
  if (architecture == "vit_giant_patch14_224") return 48.0 / 11;
  if (architecture == "vit_giant_patch14_reg4_dinov2") return 2.66667 * 2;
  return 4;
}

VitConfig::Mlp mlp_kind(const std::string& name) {
  if (name == "gelu" || name == "Mlp") return VitConfig::Mlp::kGelu;
  if (name == "swiglu" || name == "SwiGLUPacked") return VitConfig::Mlp::kSwiGlu;
  throw Error(ErrorCode::kModel, "config: the MLP is \"{}\"; expected \"gelu\" or \"swiglu\"", name);
}

void read_channels(const nlohmann::json& config, const std::string& key, float low, std::array<float, 3>& out) {
  const auto values = json_value<std::vector<float>>(config, key, std::vector<float>(out.begin(), out.end()));
  if (values.size() != 3)
    throw Error(ErrorCode::kModel, "config: \"{}\" has {} entries; expected 3", key, values.size());
  for (std::size_t i = 0; i < 3; ++i) {
    if (!(values[i] >= low && std::isfinite(values[i]))) {
      throw Error(ErrorCode::kModel, "config: \"{}\" holds {}; expected at least {}", key, values[i], low);
    }
    out[i] = values[i];
  }
}

void check(const VitConfig& c) {
  if (c.image_px % c.patch_px != 0) {
    throw Error(ErrorCode::kModel, "config: an image of {} px is no multiple of the patch's {} px", c.image_px,
                c.patch_px);
  }
  if (c.dim % c.heads != 0) throw Error(ErrorCode::kModel, "config: dim {} is no multiple of {} heads", c.dim, c.heads);
  if (c.mlp_hidden < 1 || (c.mlp == VitConfig::Mlp::kSwiGlu && c.mlp_hidden % 2 != 0)) {
    throw Error(ErrorCode::kModel, "config: the MLP's hidden width {} must be positive, for SwiGLU even", c.mlp_hidden);
  }
}

VitConfig parse_timm(const nlohmann::json& config, const std::string& architecture) {
  VitConfig c = timm_base(architecture);
  const nlohmann::json args = json_object(config, "model_args");
  c.image_px = json_int(args, "img_size", 1, 16384, c.image_px);
  c.patch_px = json_int(args, "patch_size", 1, 1024, c.patch_px);
  c.dim = json_int(args, "embed_dim", 1, 65536, c.dim);
  c.depth = json_int(args, "depth", 1, 1000, c.depth);
  c.heads = json_int(args, "num_heads", 1, 1000, c.heads);
  c.registers = json_int(args, "reg_tokens", 0, 1000, c.registers);
  if (args.contains("init_values")) c.layer_scale = !args["init_values"].is_null();
  if (json_value<bool>(args, "no_embed_class", !c.class_token_in_table)) c.class_token_in_table = false;
  if (args.contains("mlp_layer")) c.mlp = mlp_kind(json_value<std::string>(args, "mlp_layer"));
  // Truncated, as timm does: 1536 * 5.33334 gives 8192.
  c.mlp_hidden = static_cast<int>(c.dim * json_double(args, "mlp_ratio", 0.01, 100, timm_mlp_ratio(architecture)));
  const nlohmann::json preprocessing = json_object(config, "pretrained_cfg");
  read_channels(preprocessing, "mean", 0.0f, c.mean);
  read_channels(preprocessing, "std", 1e-6f, c.std);
  check(c);
  return c;
}

}  // namespace

VitConfig parse_vit_config(const nlohmann::json& config) {
  const auto architecture = json_value<std::string>(config, "architecture");
  if (architecture != "vit") return parse_timm(config, architecture);
  VitConfig c;
  c.image_px = json_int(config, "image_px", 1, 16384);
  c.patch_px = json_int(config, "patch_px", 1, 1024);
  c.dim = json_int(config, "dim", 1, 65536);
  c.depth = json_int(config, "depth", 1, 1000);
  c.heads = json_int(config, "heads", 1, 1000);
  c.mlp = mlp_kind(json_value<std::string>(config, "mlp", std::string("gelu")));
  c.mlp_hidden = static_cast<int>(c.dim * json_double(config, "mlp_ratio", 0.01, 100, 4.0));
  c.layer_scale = json_value<bool>(config, "layer_scale", c.layer_scale);
  c.layer_scale_init = json_double(config, "layer_scale_init", 0, 100, c.layer_scale_init);
  c.class_token_in_table = json_value<bool>(config, "class_token_in_table", c.class_token_in_table);
  c.registers = json_int(config, "registers", 0, 1000, c.registers);
  c.layer_norm_eps = json_double(config, "layer_norm_eps", 0, 1, c.layer_norm_eps);
  read_channels(config, "mean", 0.0f, c.mean);
  read_channels(config, "std", 1e-6f, c.std);
  check(c);
  return c;
}

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

at::Tensor VitImpl::tokens(const at::Tensor& image) {
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
  x = at::cat(parts, 1);
  for (const auto& block : *blocks_) x = block->as<VitBlock>()->forward(x);
  return norm_(x);
}

}  // namespace vtissue::models
