#include "models/checkpoint/summary.h"

#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "models/checkpoint/name_map.h"

namespace vtissue::models {
namespace {

using Shape = std::vector<std::int64_t>;

/// An architecture under one set of names: recognised by `sign`, made of `names`.
struct KnownLayout {
  std::string_view architecture;
  std::string_view layout;
  std::string_view sign;
  std::string_view blocks;  ///< what stands before a block's number
  std::vector<std::string_view> names;
};

const std::vector<KnownLayout>& known_layouts() {
  static const std::vector<KnownLayout> kLayouts = {
      {"stmdit",
       "diffusers",
       "pos_embed.proj.weight",
       "transformer_blocks.",
       {"pos_embed.proj.", "adaln_single.emb.timestep_embedder.linear_1.",
        "adaln_single.emb.timestep_embedder.linear_2.", "adaln_single.linear.", "caption_projection.linear_1.",
        "caption_projection.linear_2.", "caption_projection.uncond_embedding", "y_pos_embed.y_pos_embed",
        "transformer_blocks.*.scale_shift_table", "transformer_blocks.*.attn1.", "transformer_blocks.*.attn2.",
        "transformer_blocks.*.ff.net.", "transformer_blocks.*.ge_attn.", "transformer_blocks.*.ge_gate",
        "scale_shift_table", "proj_out.", "ge."}},
      {"stmdit",
       "original",
       "x_embedder.proj.weight",
       "blocks.",
       {"x_embedder.proj.",
        "pos_embed",
        "t_embedder.mlp.",
        "t_block.1.",
        "y_embedder.y_proj.fc1.",
        "y_embedder.y_proj.fc2.",
        "y_embedder.y_embedding",
        "y_pos_embed",
        "blocks.*.scale_shift_table",
        "blocks.*.attn.qkv.",
        "blocks.*.attn.proj.",
        "blocks.*.cross_attn.q_linear.",
        "blocks.*.cross_attn.kv_linear.",
        "blocks.*.cross_attn.proj.",
        "blocks.*.mlp.fc1.",
        "blocks.*.mlp.fc2.",
        "blocks.*.ge_attn.",
        "blocks.*.ge_gate",
        "final_layer.linear.",
        "final_layer.scale_shift_table",
        "ge."}},
      {"vit",
       "timm",
       "patch_embed.proj.weight",
       "blocks.",
       {"patch_embed.proj.", "cls_token", "reg_token", "pos_embed", "blocks.*.norm1.", "blocks.*.attn.qkv.",
        "blocks.*.attn.proj.", "blocks.*.ls1.gamma", "blocks.*.norm2.", "blocks.*.mlp.fc1.", "blocks.*.mlp.fc2.",
        "blocks.*.ls2.gamma", "norm."}},
      {"vit",
       "Hugging Face",
       "embeddings.patch_embeddings.projection.weight",
       "encoder.layer.",
       {"embeddings.", "encoder.layer.*.", "layernorm."}},
      {"cancerfoundation",
       "published",
       "gene_encoder.embedding.weight",
       "encoder.layers.",
       {"gene_encoder.embedding.", "gene_encoder.enc_norm.", "value_encoder.", "encoder.layers.*."}},
      {"deepspot",
       "published",
       "phi_spot.0.model.0.weight",
       "phi_spot.",
       {"phi_spot.*.model.0.", "rho.*.model.2.", "scaler.mean", "scaler.scale"}},
      {"autoencoder_kl",
       "diffusers",
       "decoder.mid_block.resnets.0.conv1.weight",
       "decoder.up_blocks.",
       {"encoder.", "decoder.", "quant_conv.", "post_quant_conv."}},
      {"autoencoder_kl",
       "LDM",
       "decoder.mid.block_1.conv1.weight",
       "decoder.up.",
       {"encoder.", "decoder.", "quant_conv.", "post_quant_conv."}},
      {"autoencoder_kl",
       "LDM, single file",
       "first_stage_model.decoder.mid.block_1.conv1.weight",
       "first_stage_model.decoder.up.",
       {"first_stage_model."}},
      {"taesd", "diffusers", "decoder.layers.0.weight", "decoder.layers.", {"encoder.layers.", "decoder.layers."}},
      {"taesd", "vtissue", "decoder.1.weight", "decoder.", {"encoder.*.", "decoder.*."}},
      {"taesd", "original, decoder alone", "18.conv.0.weight", "", {"*.", "*.conv.", "*.pool."}},
      {"taesd", "original, encoder alone", "13.conv.0.weight", "", {"*.", "*.conv.", "*.pool."}}};
  return kLayouts;
}

class Summarizer {
 public:
  Summarizer(std::span<const TensorInfo> tensors, const nlohmann::json& config) : tensors_(tensors), config_(config) {
    for (const TensorInfo& info : tensors) shapes_[info.name] = &info.shape;
  }

  WeightsSummary run() {
    const auto found = std::find_if(known_layouts().begin(), known_layouts().end(),
                                    [&](const KnownLayout& l) { return shapes_.contains(l.sign); });
    if (found == known_layouts().end()) {
      summary_.unrecognised.assign(tensors_.begin(), tensors_.end());
      return std::move(summary_);
    }
    layout_ = &*found;
    summary_.architecture = layout_->architecture;
    summary_.layout = layout_->layout;
    for (const TensorInfo& info : tensors_) {
      const bool known = std::any_of(layout_->names.begin(), layout_->names.end(),
                                     [&](std::string_view pattern) { return name_matches(pattern, info.name); });
      if (!known) summary_.unrecognised.push_back(info);
    }
    if (summary_.architecture == "stmdit") stmdit();
    if (summary_.architecture == "vit") vit();
    if (summary_.architecture == "cancerfoundation") cancerfoundation();
    if (summary_.architecture == "deepspot") deepspot();
    return std::move(summary_);
  }

 private:
  std::int64_t extent(const std::string& name, std::size_t axis) const {
    const auto found = shapes_.find(name);
    return found == shapes_.end() || found->second->size() <= axis ? 0 : (*found->second)[axis];
  }

  bool any(std::string_view pattern) const {
    return std::any_of(tensors_.begin(), tensors_.end(),
                       [&](const TensorInfo& info) { return name_matches(pattern, info.name); });
  }

  /// One more than the largest number after the layout's blocks.
  int depth() const {
    int result = 0;
    for (const TensorInfo& info : tensors_) {
      if (!info.name.starts_with(layout_->blocks)) continue;
      int number = -1;
      std::from_chars(info.name.data() + layout_->blocks.size(), info.name.data() + info.name.size(), number);
      result = std::max(result, number < 100000 ? number + 1 : 0);
    }
    return result;
  }

  template <typename T>
  void fact(std::string name, const T& value) {
    summary_.facts.emplace_back(std::move(name), fmt::format("{}", value));
  }

  void size_fact(std::string name, std::int64_t value) {
    if (value > 0) fact(std::move(name), value);
  }

  /// The first scalar under one of the keys, at any depth of the configuration.
  static std::optional<std::string> find_key(const nlohmann::json& node, std::span<const std::string_view> keys,
                                             int levels = 32) {
    if (levels == 0 || !node.is_structured()) return std::nullopt;
    if (node.is_object()) {
      for (const std::string_view key : keys) {
        const auto found = node.find(std::string(key));
        if (found == node.end() || found->is_structured() || found->is_null()) continue;
        return found->is_string() ? found->get<std::string>() : found->dump();
      }
    }
    for (const nlohmann::json& child : node) {
      if (auto found = find_key(child, keys, levels - 1)) return found;
    }
    return std::nullopt;
  }

  void heads() {
    static constexpr std::string_view kKeys[] = {"heads", "num_heads", "num_attention_heads", "nheads", "n_heads"};
    fact("heads", find_key(config_, kKeys).value_or("not in the weights; a configuration beside them would say"));
  }

  void stmdit() {
    const bool original = layout_->layout == "original";
    const std::string patch = std::string(layout_->sign);
    const std::int64_t dim = extent(patch, 0), channels = extent(patch, 1), side = extent(patch, 2);
    const int blocks = depth();
    size_fact("dim", dim);
    fact("depth", blocks);
    for (const auto& [name, size_dim, size_depth] :
         {std::tuple{"S", 384, 12}, {"B", 768, 12}, {"L", 1024, 24}, {"XL", 1152, 28}}) {
      if (dim == size_dim && blocks == size_depth) fact("size", name);
    }
    heads();
    const std::string first = std::string(layout_->blocks) + "0.";
    const std::int64_t hidden = extent(first + (original ? "mlp.fc1.weight" : "ff.net.0.proj.weight"), 0);
    if (dim > 0 && hidden > 0) fact("mlp_ratio", static_cast<double>(hidden) / static_cast<double>(dim));
    size_fact("latent_channels", channels);
    size_fact("patch", side);
    const std::string null_name = original ? "y_embedder.y_embedding" : "caption_projection.uncond_embedding";
    size_fact("morphology_dim",
              extent(original ? "y_embedder.y_proj.fc1.weight" : "caption_projection.linear_1.weight", 1));
    size_fact("morphology_tokens", extent(null_name, 0));
    const std::int64_t rows = extent(original ? "final_layer.linear.weight" : "proj_out.weight", 0);
    const std::int64_t plain = channels * side * side;
    const bool learn_sigma = plain > 0 && rows == 2 * plain;
    if (rows > 0) fact("learn_sigma", learn_sigma);
    static constexpr std::string_view kObjectives[] = {"objective", "prediction_type", "objective_type"};
    const auto objective = find_key(config_, kObjectives);
    if (rows > 0) {
      fact("objective", objective     ? *objective
                        : learn_sigma ? "ddpm (it has a variance)"
                                      : "flow (it has no variance; a ddpm without one looks the same)");
    }
    gene_path(first);
  }

  void gene_path(const std::string& first) {
    const bool adaln = any("ge.adaln."), separate = any(first + "ge_attn.");
    const bool tokens = any("ge.in_proj.") || any("ge.null_tokens");
    std::string path = adaln ? "adaln" : "";
    if (separate || tokens) path += path.empty() ? "xattn" : "+xattn";
    const bool others = std::any_of(summary_.unrecognised.begin(), summary_.unrecognised.end(),
                                    [](const TensorInfo& info) { return info.shape.size() == 2; });
    fact("variant", !path.empty() ? path : others ? "pixcell, and layers that are not recognised" : "pixcell");
    if (path.empty()) return;
    if (separate || tokens) fact("xattn_mode", separate ? "separate" : "concat");
    fact("pool", any("ge.pma.") ? "pma" : "cls, mean or none");
    size_fact("pma_seeds", extent("ge.pma.seeds", 1));
    size_fact("gene_dim", std::max(extent("ge.adaln.0.weight", 1), extent("ge.in_proj.weight", 1)));
  }

  void vit() {
    const bool hf = layout_->layout == "Hugging Face";
    const std::string sign(layout_->sign);
    const std::int64_t dim = extent(sign, 0), patch = extent(sign, 2);
    size_fact("dim", dim);
    fact("depth", depth());
    heads();
    size_fact("patch_px", patch);
    size_fact("registers", extent("reg_token", 1));
    const std::int64_t fc1 = extent(hf ? "encoder.layer.0.intermediate.dense.weight" : "blocks.0.mlp.fc1.weight", 0);
    const std::int64_t fc2 = extent(hf ? "encoder.layer.0.output.dense.weight" : "blocks.0.mlp.fc2.weight", 1);
    size_fact("mlp_hidden", fc1);
    if (fc1 > 0) fact("mlp", fc1 == 2 * fc2 ? "swiglu" : "gelu");
    const std::int64_t positions = extent(hf ? "embeddings.position_embeddings" : "pos_embed", 1);
    for (std::int64_t side = 1; side * side <= positions; ++side) {
      if (side * side == positions || side * side + 1 == positions) {
        fact("image_px", side * patch);
        fact("class_token_in_table", side * side + 1 == positions);
      }
    }
  }

  void cancerfoundation() {
    size_fact("vocabulary", extent("gene_encoder.embedding.weight", 0));
    size_fact("dim", extent("gene_encoder.embedding.weight", 1));
    fact("layers", depth());
    heads();
    size_fact("ff", extent("encoder.layers.0.linear1.weight", 0));
  }

  void deepspot() {
    size_fact("feature_dim", extent("phi_spot.0.model.0.weight", 1));
    size_fact("width", extent("phi_spot.0.model.0.weight", 0));
    fact("ensemble", depth());
    size_fact("genes", extent("rho.0.model.2.weight", 0));
    const std::int64_t width = std::max<std::int64_t>(1, extent("phi_spot.0.model.0.weight", 0));
    size_fact("context_parts", extent("rho.0.model.2.weight", 1) / width);
  }

  std::span<const TensorInfo> tensors_;
  const nlohmann::json& config_;
  std::map<std::string, const Shape*, std::less<>> shapes_;
  const KnownLayout* layout_ = nullptr;
  WeightsSummary summary_;
};

}  // namespace

WeightsSummary summarize_weights(std::span<const TensorInfo> tensors, const nlohmann::json& config) {
  return Summarizer(tensors, config).run();
}

}  // namespace vtissue::models
