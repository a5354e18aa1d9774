#include "models/checkpoint/name_map.h"
#include "models/stmdit/checkpoint.h"
#include "models/stmdit/inference.h"
#include "tests/full_size/random_weights.h"

// PixCell at its published sizes: diffusers' layout and the original one, loaded and run once.
namespace vtissue::models {
namespace {

struct PixCellSize {
  std::string name;
  int latent_size;
  int condition_tokens;
  std::int64_t values;  ///< parameters and buffers (models.md 2.2)
};

class FullSizePixCell : public testing::TestWithParam<PixCellSize> {};

TEST_P(FullSizePixCell, BothLayoutsComputeTheSame) {
  const c10::InferenceMode inference;
  const auto& [name, latent_size, tokens, values] = GetParam();
  StmditConfig config;  // models.md 2.1
  config.dim = 1152;
  config.depth = 28;
  config.heads = 16;
  config.latent_size = latent_size;
  config.interpolation_scale = latent_size / 64.0;
  config.condition_interpolation_scale = 2;
  config.morphology_tokens = tokens;

  const FullSizeFolder folder(name);
  std::filesystem::path diffusers_file, original_file;
  {
    RandomWeights random;
    const Tensors diffusers = random.of(*Stmdit(config));
    EXPECT_EQ(random.values(), values);
    const std::string block = "transformer_blocks.27.";
    expect_shapes(diffusers, {{"pos_embed.proj.weight", {1152, 16, 2, 2}},
                              {"adaln_single.emb.timestep_embedder.linear_1.weight", {1152, 256}},
                              {"adaln_single.linear.weight", {6912, 1152}},
                              {"caption_projection.linear_1.weight", {1152, 1536}},
                              {"caption_projection.uncond_embedding", {tokens, 1536}},
                              {block + "scale_shift_table", {6, 1152}},
                              {block + "attn1.to_q.weight", {1152, 1152}},
                              {block + "attn1.to_out.0.bias", {1152}},
                              {block + "attn2.to_k.weight", {1152, 1152}},
                              {block + "ff.net.0.proj.weight", {4608, 1152}},
                              {block + "ff.net.2.weight", {1152, 4608}},
                              {"scale_shift_table", {2, 1152}},
                              {"proj_out.weight", {128, 1152}}});
    Tensors original = stmdit_original_names().as_file(diffusers);
    // The original has the image's position table too.
    original["pos_embed"] = random.make("pos_embed", {1, latent_size * latent_size / 4, 1152});
    expect_shapes(original, {{"x_embedder.proj.weight", {1152, 16, 2, 2}},
                             {"t_embedder.mlp.0.weight", {1152, 256}},
                             {"t_block.1.weight", {6912, 1152}},
                             {"y_embedder.y_proj.fc1.weight", {1152, 1536}},
                             {"y_embedder.y_embedding", {tokens, 1536}},
                             {"blocks.27.scale_shift_table", {6, 1152}},
                             {"blocks.27.attn.qkv.weight", {3456, 1152}},
                             {"blocks.27.attn.proj.bias", {1152}},
                             {"blocks.27.cross_attn.q_linear.weight", {1152, 1152}},
                             {"blocks.27.cross_attn.kv_linear.weight", {2304, 1152}},
                             {"blocks.27.mlp.fc1.weight", {4608, 1152}},
                             {"blocks.27.mlp.fc2.weight", {1152, 4608}},
                             {"final_layer.scale_shift_table", {2, 1152}},
                             {"final_layer.linear.weight", {128, 1152}}});
    diffusers_file = folder.write("diffusion_pytorch_model.safetensors", diffusers);
    original_file = folder.write("original.safetensors", original);
  }

  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(3);
  StmditInput input;
  input.x = at::randn({1, 16, latent_size, latent_size}, generator, at::kFloat);
  input.t = at::full({1}, 499.0f);
  input.morphology = at::randn({1, tokens, 1536}, generator, at::kFloat);
  const auto output = [&](const std::filesystem::path& file) {
    Stmdit network(config);
    load_stmdit(*network, StateDict::open(file));
    return StmditInference(*network, at::kBFloat16, at::kCPU, 1).forward(input);
  };
  expect_same(output(diffusers_file), output(original_file));
}

INSTANTIATE_TEST_SUITE_P(Published, FullSizePixCell,
                         testing::Values(PixCellSize{"pixcell_256", 32, 1, 608'072'960 + 1'536},
                                         PixCellSize{"pixcell_1024", 128, 16, 608'072'960 + 2 * 16 * 1'536}),
                         [](const auto& size) { return size.param.name; });

}  // namespace
}  // namespace vtissue::models
