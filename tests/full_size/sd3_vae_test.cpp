#include "models/autoencoder_kl/autoencoder_kl.h"
#include "tests/full_size/random_weights.h"

// SD3's autoencoder at its published size: diffusers' names and the original's of a single-file checkpoint, among the
// tensors of other networks; loaded and run once in each direction.
namespace vtissue::models {
namespace {

TEST(FullSizeSd3Vae, BothLayoutsComputeTheSame) {
  const c10::InferenceMode inference;
  const AutoencoderKlConfig config;  // models.md 3.1
  const FullSizeFolder folder("sd3_vae");
  std::filesystem::path diffusers_file, single_file;
  {
    RandomWeights random;
    const Tensors diffusers = random.of(*AutoencoderKl(config));
    EXPECT_EQ(random.values(), 83'819'683);
    expect_shapes(diffusers, {{"encoder.conv_in.weight", {128, 3, 3, 3}},
                              {"encoder.down_blocks.1.resnets.0.conv_shortcut.weight", {256, 128, 1, 1}},
                              {"encoder.down_blocks.2.downsamplers.0.conv.weight", {512, 512, 3, 3}},
                              {"encoder.mid_block.attentions.0.to_q.weight", {512, 512}},
                              {"encoder.conv_out.weight", {32, 512, 3, 3}},
                              {"decoder.conv_in.weight", {512, 16, 3, 3}},
                              {"decoder.up_blocks.3.resnets.0.conv_shortcut.weight", {128, 256, 1, 1}},
                              {"decoder.conv_out.bias", {3}}});
    const std::string prefix = "first_stage_model.";
    Tensors original;
    for (const auto& [name, tensor] : diffusers) {
      const bool linear = tensor.dim() == 2;
      original[prefix + autoencoder_kl_ldm_name(name, 4)] = linear ? tensor.unsqueeze(2).unsqueeze(3) : tensor;
    }
    EXPECT_EQ(original.size(), diffusers.size());
    expect_shapes(original, {{prefix + "encoder.down.1.block.0.nin_shortcut.weight", {256, 128, 1, 1}},
                             {prefix + "encoder.down.2.downsample.conv.weight", {512, 512, 3, 3}},
                             {prefix + "encoder.mid.attn_1.q.weight", {512, 512, 1, 1}},
                             {prefix + "encoder.mid.attn_1.proj_out.weight", {512, 512, 1, 1}},
                             {prefix + "encoder.norm_out.weight", {512}},
                             {prefix + "decoder.mid.block_2.conv1.weight", {512, 512, 3, 3}},
                             {prefix + "decoder.up.3.upsample.conv.weight", {512, 512, 3, 3}},
                             {prefix + "decoder.up.0.block.0.nin_shortcut.weight", {128, 256, 1, 1}},
                             {prefix + "decoder.up.1.block.0.nin_shortcut.weight", {256, 512, 1, 1}}});
    original["model.diffusion_model.x_embedder.proj.weight"] = random.make("other", {1536, 16, 2, 2});
    diffusers_file = folder.write("diffusion_pytorch_model.safetensors", diffusers);
    single_file = folder.write("sd3.safetensors", original);
  }

  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
  const at::Tensor image = at::rand({1, 3, 256, 256}, generator, at::kFloat) * 2 - 1;
  const at::Tensor latent = at::randn({1, 16, 32, 32}, generator, at::kFloat);
  const auto both_ways = [&](const std::filesystem::path& file) {
    AutoencoderKl network(config);
    const StateDict weights = StateDict::open(file);
    load(*network, weights, autoencoder_kl_load_rules(weights, config));
    network->eval();
    return std::pair(network->encode(image).mean, network->decode(latent));
  };
  const auto [mean, decoded] = both_ways(diffusers_file);
  const auto [other_mean, other_decoded] = both_ways(single_file);
  expect_same(mean, other_mean);
  expect_same(decoded, other_decoded);
  EXPECT_EQ(decoded.sizes().vec(), (Shape{1, 3, 256, 256}));
}

}  // namespace
}  // namespace vtissue::models
