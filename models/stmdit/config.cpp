#include "models/stmdit/config.h"

#include <array>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "models/json_value.h"

namespace vtissue::models {
namespace {

constexpr int kMaxDim = 16384;
constexpr int kMaxDepth = 256;
/// Fixed in diffusers' class, whatever the interpolation of the image's table (models.md 2.5).
constexpr double kDiffusersConditionScale = 2;

/// `config[key]` as one of the names.
template <typename T, std::size_t N>
T choice(const nlohmann::json& config, const std::string& key,
         const std::array<std::pair<std::string_view, T>, N>& names,
         std::optional<std::string> fallback = std::nullopt) {
  const auto value = json_value<std::string>(config, key, std::move(fallback));
  std::string known;
  for (const auto& [name, result] : names) {
    if (value == name) return result;
    known += fmt::format("{}\"{}\"", known.empty() ? "" : ", ", name);
  }
  throw Error(ErrorCode::kModel, "config: \"{}\" is \"{}\"; expected one of {}", key, value, known);
}

struct Paths {
  bool adaln;
  bool xattn;
};

using Pool = StmditConfig::Pool;
using CrossAttention = StmditConfig::CrossAttention;
using Objective = StmditConfig::Objective;
using namespace std::string_view_literals;

constexpr std::array kVariants = {std::pair{"pixcell"sv, Paths{false, false}}, std::pair{"adaln"sv, Paths{true, false}},
                                  std::pair{"xattn"sv, Paths{false, true}},
                                  std::pair{"adaln+xattn"sv, Paths{true, true}}};
constexpr std::array kPools = {std::pair{"cls"sv, Pool::kCls}, std::pair{"mean"sv, Pool::kMean},
                               std::pair{"pma"sv, Pool::kPma}, std::pair{"none"sv, Pool::kNone}};
constexpr std::array kPmaForms = {std::pair{"own"sv, StmditConfig::PmaForm::kOwn},
                                  std::pair{"reference"sv, StmditConfig::PmaForm::kReference}};
constexpr std::array kModes = {std::pair{"separate"sv, CrossAttention::kSeparate},
                               std::pair{"concat"sv, CrossAttention::kConcat}};
constexpr std::array kObjectives = {std::pair{"ddpm"sv, Objective::kDdpm}, std::pair{"flow"sv, Objective::kFlow}};

struct SizeName {
  std::string_view name;
  int dim;
  int depth;
  int heads;
};

/// models.md 1.2.1.
constexpr std::array kSizes = {SizeName{"S", 384, 12, 6}, SizeName{"B", 768, 12, 12}, SizeName{"L", 1024, 24, 16},
                               SizeName{"XL", 1152, 28, 16}};

/// "size" names dim, depth and heads; "custom", or none, takes them from their own keys.
void read_size(const nlohmann::json& config, StmditConfig& c) {
  const auto size = json_value<std::string>(config, "size", std::string("custom"));
  if (size == "custom") {
    c.dim = json_int(config, "dim", 4, kMaxDim);
    c.depth = json_int(config, "depth", 1, kMaxDepth);
    c.heads = json_int(config, "heads", 1, c.dim);
    return;
  }
  for (const SizeName& entry : kSizes) {
    if (size != entry.name) continue;
    c.dim = entry.dim;
    c.depth = entry.depth;
    c.heads = entry.heads;
    // Beside a name they may be said again, but not otherwise.
    for (const auto& [key, value] : {std::pair{"dim", c.dim}, {"depth", c.depth}, {"heads", c.heads}}) {
      json_require(config, key, value);
    }
    return;
  }
  throw Error(ErrorCode::kModel, "config: \"size\" is \"{}\"; expected S, B, L, XL or custom", size);
}

StmditConfig parse_own(const nlohmann::json& config) {
  StmditConfig c;
  const Paths paths = choice(config, "variant", kVariants, "pixcell");
  c.adaln = paths.adaln;
  c.xattn = paths.xattn;
  c.cross_attention = choice(config, "xattn_mode", kModes, "separate");
  c.pool = choice(config, "pool", kPools, "cls");
  c.objective = choice(config, "objective", kObjectives);
  read_size(config, c);
  c.mlp_ratio = json_double(config, "mlp_ratio", 0.25, 64, c.mlp_ratio);
  c.latent_channels = json_int(config, "latent_channels", 1, 1024);
  c.latent_size = json_int(config, "latent_size", 1, 4096);
  c.patch = json_int(config, "patch", 1, 64, c.patch);
  c.interpolation_scale = json_double(config, "interpolation_scale", 1e-3, 1e3, c.latent_size / 64.0);
  c.condition_interpolation_scale =
      json_double(config, "condition_interpolation_scale", 1e-3, 1e3, c.interpolation_scale);
  c.one_token_shortcut = json_value<bool>(config, "one_token_shortcut", c.one_token_shortcut);
  c.learn_sigma = json_value<bool>(config, "learn_sigma", c.objective == Objective::kDdpm);
  c.morphology_dim = json_int(config, "morphology_dim", 4, kMaxDim);
  c.morphology_tokens = json_int(config, "morphology_tokens", 1, 4096, c.morphology_tokens);
  if (c.takes_genes()) {
    c.gene_dim = json_int(config, "gene_dim", 1, kMaxDim);
    c.gene_vectors = json_int(config, "gene_vectors", 1, kMaxDim, c.gene_vectors);
    c.pma_seeds = json_int(config, "pma_seeds", 1, kMaxDim, c.pma_seeds);
    c.pma_form = choice(config, "pma_form", kPmaForms, "own");
    c.gene_gate = json_value<bool>(config, "gene_gate", c.gene_gate);
  }
  return c;
}

StmditConfig parse_diffusers(const nlohmann::json& config) {
  StmditConfig c;
  c.heads = json_int(config, "num_attention_heads", 1, 1024);
  c.dim = c.heads * json_int(config, "attention_head_dim", 1, 1024);
  c.depth = json_int(config, "num_layers", 1, kMaxDepth);
  c.latent_channels = json_int(config, "in_channels", 1, 1024);
  c.learn_sigma = json_int(config, "out_channels", 1, 2048) == 2 * c.latent_channels;
  c.latent_size = json_int(config, "sample_size", 1, 4096);
  c.patch = json_int(config, "patch_size", 1, 64);
  c.interpolation_scale = json_double(config, "interpolation_scale", 1e-3, 1e3);
  c.condition_interpolation_scale = kDiffusersConditionScale;
  c.morphology_dim = json_int(config, "caption_channels", 4, kMaxDim);
  c.morphology_tokens = json_int(config, "caption_num_tokens", 1, 4096);
  json_require(config, "out_channels", c.out_channels());
  json_require(config, "cross_attention_dim", c.dim);
  json_require(config, "norm_type", "ada_norm_single");
  json_require(config, "norm_elementwise_affine", false);
  json_require(config, "norm_eps", 1e-6);
  json_require(config, "activation_fn", "gelu-approximate");
  json_require(config, "attention_bias", true);
  json_require(config, "use_additional_conditions", false);
  return c;
}

void check(const StmditConfig& c) {
  if (c.dim % c.heads != 0)
    throw Error(ErrorCode::kModel, "config: {} heads do not divide the width {}", c.heads, c.dim);
  if (c.dim % 4 != 0) throw Error(ErrorCode::kModel, "config: the width {} is not a multiple of 4", c.dim);
  if (c.latent_size % c.patch != 0) {
    throw Error(ErrorCode::kModel, "config: a tile of {} latents is no multiple of the patch {}", c.latent_size,
                c.patch);
  }
  int side = 1;
  while (side * side < c.morphology_tokens) ++side;
  if (side * side != c.morphology_tokens) {
    throw Error(ErrorCode::kModel, "config: {} morphology tokens are not a square", c.morphology_tokens);
  }
  if (c.morphology_tokens > 1 && c.morphology_dim % 4 != 0) {
    throw Error(ErrorCode::kModel, "config: the morphology's width {} is not a multiple of 4", c.morphology_dim);
  }
  if (c.objective == Objective::kFlow && c.learn_sigma) {
    throw Error(ErrorCode::kModel, "config: \"learn_sigma\" has no meaning for the flow objective; set it to false");
  }
}

}  // namespace

StmditConfig parse_stmdit_config(const nlohmann::json& config) {
  const bool diffusers = config.contains("_class_name") && !config.contains("dim") && !config.contains("size");
  const StmditConfig c = diffusers ? parse_diffusers(config) : parse_own(config);
  check(c);
  return c;
}

}  // namespace vtissue::models
