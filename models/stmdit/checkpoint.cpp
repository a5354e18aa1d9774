#include "models/stmdit/checkpoint.h"

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "models/stmdit/stmdit.h"
#include "models/torch.h"

namespace vtissue::models {
namespace {

/// Our name's start or middle, and what stands there in the original file; `part` of `parts` equal slices of its rows.
struct OriginalName {
  std::string_view ours;
  std::string_view original;
  int part = 0;
  int parts = 1;
};

constexpr std::array kNames = {OriginalName{"pos_embed.proj.", "x_embedder.proj."},
                               OriginalName{"adaln_single.emb.timestep_embedder.linear_1.", "t_embedder.mlp.0."},
                               OriginalName{"adaln_single.emb.timestep_embedder.linear_2.", "t_embedder.mlp.2."},
                               OriginalName{"adaln_single.linear.", "t_block.1."},
                               OriginalName{"caption_projection.linear_1.", "y_embedder.y_proj.fc1."},
                               OriginalName{"caption_projection.linear_2.", "y_embedder.y_proj.fc2."},
                               OriginalName{"caption_projection.uncond_embedding", "y_embedder.y_embedding"},
                               OriginalName{"y_pos_embed.y_pos_embed", "y_pos_embed"},
                               OriginalName{"proj_out.", "final_layer.linear."},
                               OriginalName{"scale_shift_table", "final_layer.scale_shift_table"}};

constexpr std::array kBlockNames = {OriginalName{"attn1.to_q.", "attn.qkv.", 0, 3},
                                    OriginalName{"attn1.to_k.", "attn.qkv.", 1, 3},
                                    OriginalName{"attn1.to_v.", "attn.qkv.", 2, 3},
                                    OriginalName{"attn1.to_out.0.", "attn.proj."},
                                    OriginalName{"attn2.to_q.", "cross_attn.q_linear."},
                                    OriginalName{"attn2.to_k.", "cross_attn.kv_linear.", 0, 2},
                                    OriginalName{"attn2.to_v.", "cross_attn.kv_linear.", 1, 2},
                                    OriginalName{"attn2.to_out.0.", "cross_attn.proj."},
                                    OriginalName{"ff.net.0.proj.", "mlp.fc1."},
                                    OriginalName{"ff.net.2.", "mlp.fc2."}};

constexpr std::string_view kBlocks = "transformer_blocks.";
constexpr std::string_view kOriginalBlocks = "blocks.";

at::Tensor slice_of(const StateDict& weights, const std::string& name, int part, int parts) {
  if (!weights.contains(name)) return {};
  const at::Tensor whole = weights.get(name);
  if (parts == 1 || whole.dim() == 0 || whole.size(0) % parts != 0) return whole;
  const std::int64_t rows = whole.size(0) / parts;
  return whole.slice(0, part * rows, (part + 1) * rows);
}

/// The tensor for our `name` if it starts with an entry of the table; `prefix` stands before the original's name.
template <std::size_t N>
std::optional<at::Tensor> look_up(const StateDict& weights, std::string_view name,
                                  const std::array<OriginalName, N>& table, const std::string& prefix) {
  for (const OriginalName& entry : table) {
    if (!name.starts_with(entry.ours)) continue;
    const std::string rest(name.substr(entry.ours.size()));
    return slice_of(weights, prefix + std::string(entry.original) + rest, entry.part, entry.parts);
  }
  return std::nullopt;
}

at::Tensor from_original(const StateDict& weights, const std::string& name) {
  std::string prefix;
  std::optional<at::Tensor> found;
  std::string_view rest = name;
  if (rest.starts_with(kBlocks)) {
    const std::size_t dot = rest.find('.', kBlocks.size());
    prefix = std::string(kOriginalBlocks) + std::string(rest.substr(kBlocks.size(), dot + 1 - kBlocks.size()));
    rest.remove_prefix(dot + 1);
    found = look_up(weights, rest, kBlockNames, prefix);
  } else {
    found = look_up(weights, rest, kNames, prefix);
  }
  return found ? *found : slice_of(weights, prefix + std::string(rest), 0, 1);
}

}  // namespace

void load_stmdit(StmditImpl& network, const StateDict& weights) {
  const bool original = weights.contains("x_embedder.proj.weight");
  LoadRules rules;
  if (original) {
    rules.source = from_original;
    rules.may_ignore = [](const std::string& name) { return name == "pos_embed"; };  // recomputed
  }
  rules.may_miss = [](const std::string& name) { return name == "y_pos_embed.y_pos_embed"; };
  load(network, weights, rules);
}

}  // namespace vtissue::models
