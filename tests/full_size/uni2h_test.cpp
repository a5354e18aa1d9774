#include <algorithm>
#include <nlohmann/json.hpp>

#include "models/vit/inference.h"
#include "tests/full_size/random_weights.h"

// UNI2-h at its published size: timm's names, in which it is published, and those that transformers gives such a
// network (a DINOv2 with registers), loaded and run once.
namespace vtissue::models {
namespace {

/// models.md 4.1.
nlohmann::json uni2h_config() {
  return {{"architecture", "vit_giant_patch14_224"},
          {"model_args",
           {{"img_size", 224},
            {"patch_size", 14},
            {"depth", 24},
            {"num_heads", 24},
            {"init_values", 1e-5},
            {"embed_dim", 1536},
            {"mlp_ratio", 2.66667 * 2},
            {"num_classes", 0},
            {"no_embed_class", true},
            {"mlp_layer", "SwiGLUPacked"},
            {"act_layer", "SiLU"},
            {"reg_tokens", 8},
            {"dynamic_img_size", true}}}};
}

void rename_part(std::string& name, std::string_view from, std::string_view to) {
  if (const std::size_t at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
}

/// timm's tensors as transformers' Dinov2WithRegistersModel names them. Its position table has a row for the class
/// token, which is zero where timm has none.
Tensors as_transformers(const Tensors& timm) {
  Tensors result;
  for (const auto& [timm_name, tensor] : timm) {
    std::string name = timm_name;
    if (!name.starts_with("blocks.")) {
      if (name == "pos_embed") {
        result["embeddings.position_embeddings"] = at::cat({at::zeros({1, 1, tensor.size(2)}, at::kHalf), tensor}, 1);
        continue;
      }
      if (name == "reg_token") name = "register_tokens";
      rename_part(name, "patch_embed.proj.", "patch_embeddings.projection.");
      result[name.starts_with("norm.") ? "layer" + name : "embeddings." + name] = tensor;
      continue;
    }
    rename_part(name, "blocks.", "encoder.layer.");
    if (const std::size_t at = name.find("attn.qkv."); at != std::string::npos) {
      const std::vector<at::Tensor> parts = tensor.chunk(3);
      for (std::size_t i = 0; i < 3; ++i) {
        const char* part = i == 0 ? "query." : i == 1 ? "key." : "value.";
        result[name.substr(0, at) + "attention.attention." + part + name.substr(at + 9)] = parts[i].contiguous();
      }
      continue;
    }
    rename_part(name, "attn.proj.", "attention.output.dense.");
    rename_part(name, "ls1.gamma", "layer_scale1.lambda1");
    rename_part(name, "ls2.gamma", "layer_scale2.lambda1");
    rename_part(name, "mlp.fc1.", "mlp.weights_in.");
    rename_part(name, "mlp.fc2.", "mlp.weights_out.");
    result[name] = tensor;
  }
  return result;
}

TEST(FullSizeUni2h, BothLayoutsComputeTheSame) {
  const c10::InferenceMode inference;
  VitConfig config = parse_vit_config(uni2h_config());
  const FullSizeFolder folder("uni2h");
  std::filesystem::path timm_file, transformers_file;
  {
    RandomWeights random;
    const Tensors timm = random.of(*Vit(config));
    EXPECT_EQ(random.values(), 681'394'176);
    expect_shapes(timm, {{"cls_token", {1, 1, 1536}},
                         {"reg_token", {1, 8, 1536}},
                         {"pos_embed", {1, 256, 1536}},
                         {"patch_embed.proj.weight", {1536, 3, 14, 14}},
                         {"blocks.23.norm1.weight", {1536}},
                         {"blocks.23.attn.qkv.weight", {4608, 1536}},
                         {"blocks.23.attn.proj.weight", {1536, 1536}},
                         {"blocks.23.ls1.gamma", {1536}},
                         {"blocks.23.mlp.fc1.weight", {8192, 1536}},
                         {"blocks.23.mlp.fc2.weight", {1536, 4096}},
                         {"blocks.23.ls2.gamma", {1536}},
                         {"norm.bias", {1536}}});
    const Tensors transformers = as_transformers(timm);
    EXPECT_EQ(transformers.size(), timm.size() + 2 * 2 * 24);
    expect_shapes(transformers, {{"embeddings.cls_token", {1, 1, 1536}},
                                 {"embeddings.register_tokens", {1, 8, 1536}},
                                 {"embeddings.position_embeddings", {1, 257, 1536}},
                                 {"embeddings.patch_embeddings.projection.weight", {1536, 3, 14, 14}},
                                 {"encoder.layer.23.norm1.weight", {1536}},
                                 {"encoder.layer.23.attention.attention.query.weight", {1536, 1536}},
                                 {"encoder.layer.23.attention.output.dense.weight", {1536, 1536}},
                                 {"encoder.layer.23.layer_scale1.lambda1", {1536}},
                                 {"encoder.layer.23.mlp.weights_in.weight", {8192, 1536}},
                                 {"encoder.layer.23.mlp.weights_out.weight", {1536, 4096}},
                                 {"layernorm.bias", {1536}}});
    timm_file = folder.write("timm.safetensors", timm);
    transformers_file = folder.write("transformers.safetensors", transformers);
  }

  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(4);
  const at::Tensor image = at::randn({1, 3, 224, 224}, generator, at::kFloat);
  const auto embedding = [&](const std::filesystem::path& file) {
    Vit network(config);
    const StateDict weights = StateDict::open(file);
    load(*network, weights, vit_load_rules(weights));
    return VitInference(*network, at::kBFloat16, at::kCPU, 1).forward(image);
  };
  const at::Tensor timm = embedding(timm_file);
  config.class_token_in_table = true;
  expect_same(timm, embedding(transformers_file));
  EXPECT_EQ(timm.sizes().vec(), (Shape{1, 1536}));
}

}  // namespace
}  // namespace vtissue::models
