#include "models/stmdit/checkpoint.h"

#include "models/stmdit/stmdit.h"
#include "models/torch.h"

namespace vtissue::models {

const NameMap& stmdit_original_names() {
  static const NameMap kNames({{"pos_embed.proj.", "x_embedder.proj."},
                               {"adaln_single.emb.timestep_embedder.linear_1.", "t_embedder.mlp.0."},
                               {"adaln_single.emb.timestep_embedder.linear_2.", "t_embedder.mlp.2."},
                               {"adaln_single.linear.", "t_block.1."},
                               {"caption_projection.linear_1.", "y_embedder.y_proj.fc1."},
                               {"caption_projection.linear_2.", "y_embedder.y_proj.fc2."},
                               {"caption_projection.uncond_embedding", "y_embedder.y_embedding"},
                               {"y_pos_embed.y_pos_embed", "y_pos_embed"},
                               {"proj_out.", "final_layer.linear."},
                               {"scale_shift_table", "final_layer.scale_shift_table"},
                               {"transformer_blocks.*.attn1.to_q.", "blocks.*.attn.qkv.", 0, 3},
                               {"transformer_blocks.*.attn1.to_k.", "blocks.*.attn.qkv.", 1, 3},
                               {"transformer_blocks.*.attn1.to_v.", "blocks.*.attn.qkv.", 2, 3},
                               {"transformer_blocks.*.attn1.to_out.0.", "blocks.*.attn.proj."},
                               {"transformer_blocks.*.attn2.to_q.", "blocks.*.cross_attn.q_linear."},
                               {"transformer_blocks.*.attn2.to_k.", "blocks.*.cross_attn.kv_linear.", 0, 2},
                               {"transformer_blocks.*.attn2.to_v.", "blocks.*.cross_attn.kv_linear.", 1, 2},
                               {"transformer_blocks.*.attn2.to_out.0.", "blocks.*.cross_attn.proj."},
                               {"transformer_blocks.*.ff.net.0.proj.", "blocks.*.mlp.fc1."},
                               {"transformer_blocks.*.ff.net.2.", "blocks.*.mlp.fc2."},
                               {"transformer_blocks.*.", "blocks.*."}},
                              {"pos_embed"});  // the position table is computed
  return kNames;
}

void load_stmdit(StmditImpl& network, const StateDict& weights) {
  LoadRules rules;
  if (weights.contains("x_embedder.proj.weight")) rules = stmdit_original_names().load_rules();
  rules.may_miss = [](const std::string& name) { return name == "y_pos_embed.y_pos_embed"; };
  load(network, weights, rules);
}

}  // namespace vtissue::models
