#include <array>
#include <charconv>
#include <string_view>
#include <utility>

#include "models/autoencoder_kl/autoencoder_kl.h"

namespace vtissue::models {
namespace {

constexpr std::string_view kLdmPrefix = "first_stage_model.";

/// Parts of our names and what stands there in the original; the first that fits is replaced.
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kLdmParts = {
    {{"mid_block.resnets.0.", "mid.block_1."},
     {"mid_block.resnets.1.", "mid.block_2."},
     {"mid_block.attentions.0.group_norm.", "mid.attn_1.norm."},
     {"mid_block.attentions.0.to_q.", "mid.attn_1.q."},
     {"mid_block.attentions.0.to_k.", "mid.attn_1.k."},
     {"mid_block.attentions.0.to_v.", "mid.attn_1.v."},
     {"mid_block.attentions.0.to_out.0.", "mid.attn_1.proj_out."},
     {"conv_norm_out.", "norm_out."},
     {".downsamplers.0.", ".downsample."},
     {".upsamplers.0.", ".upsample."},
     {".resnets.", ".block."},
     {"down_blocks.", "down."}}};

void replace_part(std::string& name, std::string_view from, std::string_view to) {
  if (const std::size_t at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
}

}  // namespace

std::string autoencoder_kl_ldm_name(const std::string& name, int resolutions) {
  constexpr std::string_view kUp = "up_blocks.";
  std::string result = name;
  for (const auto& [ours, original] : kLdmParts) replace_part(result, ours, original);
  replace_part(result, "conv_shortcut.", "nin_shortcut.");
  // The original counts the decoder's blocks by resolution, from the image's.
  if (const std::size_t at = result.find(kUp); at != std::string::npos) {
    const std::size_t first = at + kUp.size();
    const std::size_t end = result.find('.', first);
    int index = 0;
    std::from_chars(result.data() + first, result.data() + end, index);
    result.replace(at, end - at, "up." + std::to_string(resolutions - 1 - index));
  }
  return result;
}

LoadRules autoencoder_kl_load_rules(const StateDict& weights, const AutoencoderKlConfig& config) {
  constexpr std::string_view kOriginal = "encoder.mid.block_1.norm1.weight";
  const bool prefixed = weights.contains(std::string(kLdmPrefix) + std::string(kOriginal));
  LoadRules rules;
  if (!prefixed && !weights.contains(kOriginal)) return rules;
  const std::string prefix(prefixed ? kLdmPrefix : "");
  const auto resolutions = static_cast<int>(config.channels.size());
  rules.source = [prefix, resolutions](const StateDict& file, const std::string& ours) {
    const std::string name = prefix + autoencoder_kl_ldm_name(ours, resolutions);
    if (!file.contains(name)) return at::Tensor();
    const at::Tensor tensor = file.get(name);
    // Linear layers of the attention are 1x1 convolutions there.
    const bool pointwise = ours.find(".to_") != std::string::npos && tensor.dim() == 4;
    return pointwise && tensor.size(2) == 1 && tensor.size(3) == 1 ? tensor.flatten(1) : tensor;
  };
  // A single file holds the diffusion model and the text encoders too.
  if (prefixed) rules.may_ignore = [](const std::string& name) { return !name.starts_with(kLdmPrefix); };
  return rules;
}

}  // namespace vtissue::models
