#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/vit/vit.h"

namespace vtissue::models {
namespace {

constexpr std::string_view kTransformersMark = "embeddings.patch_embeddings.projection.weight";

using NamePair = std::pair<std::string_view, std::string_view>;

constexpr std::array<NamePair, 5> kVitOuterNames = {{{"cls_token", "embeddings.cls_token"},
                                                     {"pos_embed", "embeddings.position_embeddings"},
                                                     {"patch_embed.proj.", "embeddings.patch_embeddings.projection."},
                                                     {"norm.", "layernorm."},
                                                     {"reg_token", "embeddings.register_tokens"}}};

/// ViTModel's, then those of the DINOv2 models (with layer scale and packed SwiGLU) where they are others.
constexpr std::array<NamePair, 13> kVitBlockNames = {{{"norm1.", "layernorm_before."},
                                                      {"norm2.", "layernorm_after."},
                                                      {"attn.proj.", "attention.output.dense."},
                                                      {"mlp.fc1.", "intermediate.dense."},
                                                      {"mlp.fc2.", "output.dense."},
                                                      {"norm1.", "norm1."},
                                                      {"norm2.", "norm2."},
                                                      {"ls1.gamma", "layer_scale1.lambda1"},
                                                      {"ls2.gamma", "layer_scale2.lambda1"},
                                                      {"mlp.fc1.", "mlp.weights_in."},
                                                      {"mlp.fc2.", "mlp.weights_out."},
                                                      {"mlp.fc1.", "mlp.fc1."},
                                                      {"mlp.fc2.", "mlp.fc2."}}};

at::Tensor get_or_none(const StateDict& file, const std::string& name) {
  return file.contains(name) ? file.get(name) : at::Tensor();
}

at::Tensor from_transformers(const StateDict& file, const std::string& ours) {
  constexpr std::string_view kBlocks = "blocks.";
  constexpr std::string_view kQkv = "attn.qkv.";
  if (!ours.starts_with(kBlocks)) {
    for (const auto& [name, theirs] : kVitOuterNames) {
      if (ours.starts_with(name)) return get_or_none(file, std::string(theirs) + ours.substr(name.size()));
    }
    return {};
  }
  const std::size_t dot = ours.find('.', kBlocks.size());
  const std::string prefix = "encoder.layer." + ours.substr(kBlocks.size(), dot + 1 - kBlocks.size());
  const std::string rest = ours.substr(dot + 1);
  if (rest.starts_with(kQkv)) {
    std::vector<at::Tensor> parts;
    for (const char* part : {"query.", "key.", "value."}) {
      parts.push_back(get_or_none(file, prefix + "attention.attention." + part + rest.substr(kQkv.size())));
      if (!parts.back().defined()) return {};
    }
    return at::cat(parts);
  }
  for (const auto& [name, theirs] : kVitBlockNames) {
    if (!rest.starts_with(name)) continue;
    if (at::Tensor found = get_or_none(file, prefix + std::string(theirs) + rest.substr(name.size())); found.defined())
      return found;
  }
  return {};
}

}  // namespace

LoadRules vit_load_rules(const StateDict& weights) {
  LoadRules rules;
  if (!weights.contains(kTransformersMark)) return rules;
  rules.source = from_transformers;
  // The embedding is the class token's; a pooler after it is not used, nor what stands for a masked patch in training.
  rules.may_ignore = [](const std::string& name) {
    return name.starts_with("pooler.") || name == "embeddings.mask_token";
  };
  return rules;
}

}  // namespace vtissue::models
