#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>

#include "models/json_value.h"
#include "models/vit/vit.h"

namespace vtissue::models {
namespace {

using Json = nlohmann::json;

/// The architectures of timm that the checkpoints name; "model_args" change them.
struct TimmArchitecture {
  std::string_view name;
  int image_px, patch_px, dim, depth, heads;
  double mlp_ratio;
  VitConfig::Mlp mlp;
  int registers;
  bool class_token_in_table;
  bool layer_scale;
};

constexpr std::array kTimm = {
    TimmArchitecture{"vit_base_patch16_224", 224, 16, 768, 12, 12, 4, VitConfig::Mlp::kGelu, 0, true, false},
    TimmArchitecture{"vit_large_patch16_224", 224, 16, 1024, 24, 16, 4, VitConfig::Mlp::kGelu, 0, true, false},
    TimmArchitecture{"vit_giant_patch14_224", 224, 14, 1408, 40, 16, 48.0 / 11, VitConfig::Mlp::kGelu, 0, true, false},
    TimmArchitecture{"vit_giant_patch14_reg4_dinov2", 518, 14, 1536, 40, 24, 2.66667 * 2, VitConfig::Mlp::kSwiGlu, 4,
                     false, true}};

/// Arguments that change nothing at inference.
constexpr std::array kIgnoredTimmArgs = {"dynamic_img_size", "drop_rate",       "drop_path_rate", "proj_drop_rate",
                                         "pos_drop_rate",    "patch_drop_rate", "attn_drop_rate", "weight_init"};

VitConfig::Mlp mlp_kind(const std::string& name) {
  if (name == "gelu" || name == "Mlp") return VitConfig::Mlp::kGelu;
  if (name == "swiglu" || name == "SwiGLUPacked") return VitConfig::Mlp::kSwiGlu;
  throw Error(ErrorCode::kModel, "config: the MLP is \"{}\"; expected \"gelu\" or \"swiglu\"", name);
}

void read_channels(const Json& config, const std::string& key, float low, std::array<float, 3>& out) {
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

Interpolation interpolation_of(const std::string& name) {
  if (name == "bilinear") return Interpolation::kBilinear;
  if (name == "bicubic") return Interpolation::kBicubic;
  throw Error(ErrorCode::kModel, "config: \"interpolation\" is \"{}\"; expected \"bilinear\" or \"bicubic\"", name);
}

ResizePath resize_path_of(const std::string& name) {
  if (name == "pil") return ResizePath::kPil;
  if (name == "tensor") return ResizePath::kTensor;
  throw Error(ErrorCode::kModel, "config: \"resize_path\" is \"{}\"; expected \"pil\" or \"tensor\"", name);
}

/// Keys of our own that may stand in any of the formats: how tiles were resized when the encoder's features were used.
void read_own_preprocessing(const Json& config, Preprocessing& p) {
  p.path = resize_path_of(json_value<std::string>(config, "resize_path", std::string("pil")));
  p.half_features = json_value<bool>(config, "half_features", p.half_features);
}

void check_sizes(const VitConfig& c) {
  if (c.image_px % c.patch_px != 0) {
    throw Error(ErrorCode::kModel, "config: an image of {} px is no multiple of the patch's {} px", c.image_px,
                c.patch_px);
  }
  if (c.dim % c.heads != 0) throw Error(ErrorCode::kModel, "config: dim {} is no multiple of {} heads", c.dim, c.heads);
  if (c.mlp_hidden < 1 || (c.mlp == VitConfig::Mlp::kSwiGlu && c.mlp_hidden % 2 != 0)) {
    throw Error(ErrorCode::kModel, "config: the MLP's hidden width {} must be positive, for SwiGLU even", c.mlp_hidden);
  }
}

/// timm's transform: Resize(input / crop_pct), CenterCrop(input).
void parse_timm_preprocessing(const Json& config, const VitConfig& c, Preprocessing& p) {
  p.resize_px = p.crop_px = c.image_px;
  if (const auto size = config.find("input_size"); size != config.end() && !size->is_null()) {
    if (*size != Json{3, c.image_px, c.image_px}) {
      throw Error(ErrorCode::kModel, "config: \"input_size\" is {}, but the network's \"img_size\" is {}", size->dump(),
                  c.image_px);
    }
  }
  p.interpolation = interpolation_of(json_value<std::string>(config, "interpolation", std::string("bilinear")));
  p.resize_px = static_cast<int>(std::floor(c.image_px / json_double(config, "crop_pct", 0.1, 1, 1.0)));
  json_require(config, "crop_mode", "center");
  read_channels(config, "mean", 0.0f, p.mean);
  read_channels(config, "std", 1e-6f, p.std);
}

VitConfig parse_timm(const Json& config, const std::string& name) {
  const auto found = std::find_if(kTimm.begin(), kTimm.end(), [&](const auto& entry) { return entry.name == name; });
  if (found == kTimm.end()) {
    std::string known = "\"vit\" and timm's";
    for (const TimmArchitecture& entry : kTimm) known += " " + std::string(entry.name);
    throw Error(ErrorCode::kModel, "config: \"architecture\" is \"{}\"; known are {}", name, known);
  }
  const Json args = json_object(config, "model_args");
  VitConfig c;
  c.image_px = json_int(args, "img_size", 1, 16384, found->image_px);
  c.patch_px = json_int(args, "patch_size", 1, 1024, found->patch_px);
  c.dim = json_int(args, "embed_dim", 1, 65536, found->dim);
  c.depth = json_int(args, "depth", 1, 1000, found->depth);
  c.heads = json_int(args, "num_heads", 1, 1000, found->heads);
  c.registers = json_int(args, "reg_tokens", 0, 1000, found->registers);
  c.layer_scale = args.contains("init_values") ? !args["init_values"].is_null() : found->layer_scale;
  c.class_token_in_table = !json_value<bool>(args, "no_embed_class", !found->class_token_in_table);
  c.mlp = args.contains("mlp_layer") ? mlp_kind(json_value<std::string>(args, "mlp_layer")) : found->mlp;
  // Truncated, as timm does: 1536 * 5.33334 gives 8192.
  c.mlp_hidden = static_cast<int>(c.dim * json_double(args, "mlp_ratio", 0.01, 100, found->mlp_ratio));
  const std::string activation = c.mlp == VitConfig::Mlp::kSwiGlu ? "SiLU" : "GELU";
  const auto act = json_value<std::string>(args, "act_layer", activation);
  std::string lower = act;
  std::ranges::transform(lower, lower.begin(), [](char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
  });
  if (act != activation && lower != (c.mlp == VitConfig::Mlp::kSwiGlu ? "silu" : "gelu")) {
    throw Error(ErrorCode::kModel, "config: \"act_layer\" is \"{}\"; with this MLP only \"{}\" is supported", act,
                activation);
  }
  for (const char* where : {"class_token", "qkv_bias"}) json_require(args, where, true);
  for (const Json* where : {&args, &config}) {
    json_require(*where, "num_classes", 0);
    // The class token is what is read; an average over patches would be another embedding.
    json_require(*where, "global_pool", "token");
  }
  for (const auto& [key, value] : args.items()) {
    constexpr std::array kRead = {"img_size",   "patch_size",  "embed_dim",      "depth",       "num_heads",
                                  "reg_tokens", "init_values", "mlp_layer",      "mlp_ratio",   "act_layer",
                                  "qkv_bias",   "class_token", "no_embed_class", "num_classes", "global_pool"};
    const auto is_key = [&](const char* known) { return key == known; };
    const bool off = value.is_null() || value == false;
    if (off || std::ranges::any_of(kRead, is_key) || std::ranges::any_of(kIgnoredTimmArgs, is_key)) continue;
    throw Error(ErrorCode::kModel, "config: \"model_args\" has \"{}\": {}, which is not supported", key, value.dump());
  }
  parse_timm_preprocessing(json_object(config, "pretrained_cfg"), c, c.preprocessing);
  read_own_preprocessing(config, c.preprocessing);
  return c;
}

VitConfig parse_transformers(const Json& config) {
  json_require(config, "model_type", "vit");
  json_require(config, "num_channels", 3);
  json_require(config, "qkv_bias", true);
  json_require(config, "hidden_act", "gelu");
  VitConfig c;
  c.image_px = json_int(config, "image_size", 1, 16384, 224);
  c.patch_px = json_int(config, "patch_size", 1, 1024, 16);
  c.dim = json_int(config, "hidden_size", 1, 65536, 768);
  c.depth = json_int(config, "num_hidden_layers", 1, 1000, 12);
  c.heads = json_int(config, "num_attention_heads", 1, 1000, 12);
  c.mlp_hidden = json_int(config, "intermediate_size", 1, 1 << 20, 3072);
  c.layer_norm_eps = json_double(config, "layer_norm_eps", 0, 1, 1e-12);
  c.layer_scale = false;
  c.preprocessing.resize_px = c.preprocessing.crop_px = c.image_px;
  read_own_preprocessing(config, c.preprocessing);
  return c;
}

VitConfig parse_own_vit(const Json& config) {
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
  Preprocessing& p = c.preprocessing;
  p.crop_px = c.image_px;
  p.resize_px = json_int(config, "resize_px", c.image_px, 16384, c.image_px);
  p.interpolation = interpolation_of(json_value<std::string>(config, "interpolation", std::string("bilinear")));
  read_channels(config, "mean", 0.0f, p.mean);
  read_channels(config, "std", 1e-6f, p.std);
  read_own_preprocessing(config, p);
  return c;
}

}  // namespace

VitConfig parse_vit_config(const Json& config) {
  const bool transformers = !config.contains("architecture") && config.contains("model_type");
  VitConfig c;
  if (transformers) {
    c = parse_transformers(config);
  } else {
    const auto architecture = json_value<std::string>(config, "architecture");
    c = architecture == "vit" ? parse_own_vit(config) : parse_timm(config, architecture);
  }
  check_sizes(c);
  return c;
}

void parse_image_processor(const Json& config, Preprocessing& p) {
  constexpr int kPilBilinear = 2;
  constexpr int kPilBicubic = 3;
  if (const auto size = config.find("size"); size != config.end()) {
    const Json square = {{"height", p.crop_px}, {"width", p.crop_px}};
    if (*size != square && *size != p.crop_px) {
      throw Error(ErrorCode::kModel, "\"size\" is {}, but the network takes {} px", size->dump(), p.crop_px);
    }
  }
  const int resample = json_int(config, "resample", kPilBilinear, kPilBicubic, kPilBilinear);
  p.interpolation = resample == kPilBicubic ? Interpolation::kBicubic : Interpolation::kBilinear;
  for (const char* key : {"do_resize", "do_rescale", "do_normalize"}) json_require(config, key, true);
  json_require(config, "do_center_crop", false);
  if (config.contains("rescale_factor")) json_double(config, "rescale_factor", 0.00392, 0.003922);
  read_channels(config, "image_mean", 0.0f, p.mean);
  read_channels(config, "image_std", 1e-6f, p.std);
}

}  // namespace vtissue::models
