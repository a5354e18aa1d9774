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
constexpr std::array kModes = {std::pair{"separate"sv, CrossAttention::kSeparate},
                               std::pair{"concat"sv, CrossAttention::kConcat}};
constexpr std::array kObjectives = {std::pair{"ddpm"sv, Objective::kDdpm}, std::pair{"flow"sv, Objective::kFlow}};

StmditConfig parse_own(const nlohmann::json& config) {
  StmditConfig c;
  const Paths paths = choice(config, "variant", kVariants, "pixcell");
  c.adaln = paths.adaln;
  c.xattn = paths.xattn;
  c.cross_attention = choice(config, "xattn_mode", kModes, "separate");
  c.pool = choice(config, "pool", kPools, "cls");
  c.objective = choice(config, "objective", kObjectives);
  c.dim = json_int(config, "dim", 4, kMaxDim);
  c.depth = json_int(config, "depth", 1, kMaxDepth);
  c.heads = json_int(config, "heads", 1, c.dim);
  c.mlp_ratio = json_double(config, "mlp_ratio", 0.25, 64, c.mlp_ratio);
  c.latent_channels = json_int(config, "latent_channels", 1, 1024);
  c.latent_size = json_int(config, "latent_size", 1, 4096);
  c.patch = json_int(config, "patch", 1, 64, c.patch);
  c.interpolation_scale = json_double(config, "interpolation_scale", 1e-3, 1e3, c.latent_size / 64.0);
  c.learn_sigma = json_value<bool>(config, "learn_sigma", c.objective == Objective::kDdpm);
  c.morphology_dim = json_int(config, "morphology_dim", 4, kMaxDim);
  c.morphology_tokens = json_int(config, "morphology_tokens", 1, 4096, c.morphology_tokens);
  if (c.takes_genes()) {
    c.gene_dim = json_int(config, "gene_dim", 1, kMaxDim);
    c.gene_vectors = json_int(config, "gene_vectors", 1, kMaxDim, c.gene_vectors);
    c.pma_seeds = json_int(config, "pma_seeds", 1, kMaxDim, c.pma_seeds);
    c.gene_gate = json_value<bool>(config, "gene_gate", c.gene_gate);
  }
  return c;
}

/// A network of the family that this one does not compute must not load and give wrong tiles.
void require(const nlohmann::json& config, const std::string& key, const nlohmann::json& wanted) {
  const auto found = config.find(key);
  if (found != config.end() && *found != wanted) {
    throw Error(ErrorCode::kModel, "config: \"{}\" is {}; only {} is supported", key, found->dump(), wanted.dump());
  }
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
  c.morphology_dim = json_int(config, "caption_channels", 4, kMaxDim);
  c.morphology_tokens = json_int(config, "caption_num_tokens", 1, 4096);
  require(config, "out_channels", c.out_channels());
  require(config, "cross_attention_dim", c.dim);
  require(config, "norm_type", "ada_norm_single");
  require(config, "norm_elementwise_affine", false);
  require(config, "norm_eps", 1e-6);
  require(config, "activation_fn", "gelu-approximate");
  require(config, "attention_bias", true);
  require(config, "use_additional_conditions", false);
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
  const bool diffusers = config.contains("_class_name") && !config.contains("dim");
  const StmditConfig c = diffusers ? parse_diffusers(config) : parse_own(config);
  check(c);
  return c;
}

}  // namespace vtissue::models
