#include "models/vit/vit.h"

#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

/// The float64 deviation of these goldens is 7e-7 of the largest value.
constexpr double kTolerance = 1e-5;

Vit load_golden(const std::string& name) {
  Vit network(parse_vit_config(golden_json(name + "/config.json")));
  const StateDict weights = golden(name + "/weights.safetensors");
  load(*network, weights, vit_load_rules(weights));
  network->eval();
  return network;
}

nlohmann::json small_config() {
  return {{"architecture", "vit"}, {"image_px", 32}, {"patch_px", 8}, {"dim", 24}, {"depth", 2}, {"heads", 3}};
}

class VitGolden : public testing::TestWithParam<const char*> {};

TEST_P(VitGolden, TokensAndClassTokenAgree) {
  const torch::NoGradGuard no_grad;
  const StateDict io = golden(std::string(GetParam()) + "/io.safetensors");
  Vit network = load_golden(GetParam());
  expect_close(network->tokens(io.get("x")), io.get("features"), kTolerance);
  expect_close(network->forward(io.get("x")), io.get("out"), kTolerance);
}

TEST_P(VitGolden, PositionTableIsResampledForAnotherSize) {
  const torch::NoGradGuard no_grad;
  const StateDict io = golden(std::string(GetParam()) + "/io.safetensors");
  expect_close(load_golden(GetParam())->forward(io.get("x2")), io.get("out2"), kTolerance);
}

TEST_P(VitGolden, IntermediatesAgree) {
  const torch::NoGradGuard no_grad;
  const StateDict io = golden(std::string(GetParam()) + "/io.safetensors");
  Vit network = load_golden(GetParam());
  auto modules = network->named_modules();
  const at::Tensor map =
      modules["patch_embed.proj"]->as<torch::nn::Conv2d>()->forward(io.get("x").slice(0, 0, 1)).permute({0, 2, 3, 1});
  expect_close(map, io.get("i/patch_embed"), kTolerance);
  expect_close(network->embed(io.get("x").slice(0, 0, 1)), io.get("i/tokens"), kTolerance);
  expect_close(network->embed(io.get("x2")), io.get("i2/tokens"), kTolerance);

  const at::Tensor tokens = io.get("i/tokens");
  const at::Tensor attended = modules["blocks.0.attn"]->as<VitAttention>()->forward(
      modules["blocks.0.norm1"]->as<torch::nn::LayerNorm>()->forward(tokens));
  expect_close(attended, io.get("i/block0_attn"), kTolerance);
  const at::Tensor after = tokens + modules["blocks.0.ls1"]->as<LayerScale>()->forward(attended);
  const at::Tensor mapped = modules["blocks.0.mlp"]->as<VitMlp>()->forward(
      modules["blocks.0.norm2"]->as<torch::nn::LayerNorm>()->forward(after));
  expect_close(mapped, io.get("i/block0_mlp"), kTolerance);
  expect_close(modules["blocks.0"]->as<VitBlock>()->forward(tokens), io.get("i/block0"), kTolerance);
}

TEST(Phikon, AgreesWithTransformers) {
  const torch::NoGradGuard no_grad;
  const StateDict io = golden("phikon/io.safetensors");
  Vit network = load_golden("phikon");
  EXPECT_EQ(network->config().layer_norm_eps, 1e-12);
  const at::Tensor x = io.get("x");
  expect_close(network->tokens(x), io.get("last_hidden_state"), kTolerance);
  expect_close(network->forward(x), io.get("cls"), kTolerance);
  const at::Tensor tokens = network->embed(x.slice(0, 0, 1));
  expect_close(tokens, io.get("i/embeddings"), kTolerance);
  expect_close(network->named_modules()["blocks.0"]->as<VitBlock>()->forward(tokens), io.get("i/layer0"), kTolerance);
}

TEST(Phikon, MissingTensorsAreListedByOurNames) {
  nlohmann::json config = golden_json("phikon/config.json");
  config["num_hidden_layers"] = 4;
  Vit network(parse_vit_config(config));
  const StateDict weights = golden("phikon/weights.safetensors");
  const auto [code, text] = error_of([&] { load(*network, weights, vit_load_rules(weights)); });
  EXPECT_EQ(code, ErrorCode::kModel);
  EXPECT_THAT(text, testing::HasSubstr("blocks.3.attn.qkv.weight [108, 36]"));
}

TEST(VitConfig, ReadsTransformersFormat) {
  const nlohmann::json config = golden_json("phikon/config.json");
  VitConfig c = parse_vit_config(config);
  EXPECT_EQ(c.mlp_hidden, 80);
  EXPECT_FALSE(c.layer_scale);
  parse_image_processor({{"do_resize", true},
                         {"size", {{"height", 32}, {"width", 32}}},
                         {"resample", 3},
                         {"image_mean", {0.1, 0.2, 0.3}},
                         {"image_std", {0.4, 0.5, 0.6}}},
                        c.preprocessing);
  EXPECT_EQ(c.preprocessing.interpolation, Interpolation::kBicubic);
  EXPECT_FLOAT_EQ(c.preprocessing.std[2], 0.6f);
  const auto refused = [&](const nlohmann::json& processor) {
    const auto [code, text] = error_of([&] { parse_image_processor(processor, c.preprocessing); });
    EXPECT_EQ(code, ErrorCode::kModel);
    return text;
  };
  EXPECT_THAT(refused({{"size", 64}}), testing::HasSubstr("takes 32 px"));
  EXPECT_THAT(refused({{"resample", 1}}), testing::HasSubstr("\"resample\""));
  EXPECT_THAT(refused({{"do_normalize", false}}), testing::HasSubstr("do_normalize"));
  nlohmann::json relu = config;
  relu["hidden_act"] = "relu";
  EXPECT_EQ(error_of([&] { (void)parse_vit_config(relu); }).first, ErrorCode::kModel);
}

// What timm's configuration says is done or refused, never passed over.
TEST(VitConfig, HonoursOrRefusesEverythingOfTimm) {
  nlohmann::json config = golden_json("uni/config.json");
  config["global_pool"] = "token";
  config["num_features"] = 32;
  config["pretrained_cfg"] = {{"input_size", {3, 32, 32}}, {"interpolation", "bicubic"}, {"crop_pct", 0.875},
                              {"crop_mode", "center"},     {"mean", {0.5, 0.5, 0.5}},    {"std", {0.5, 0.5, 0.5}}};
  config["resize_path"] = "tensor";
  config["half_features"] = true;
  const VitConfig c = parse_vit_config(config);
  EXPECT_EQ(c.preprocessing.interpolation, Interpolation::kBicubic);
  EXPECT_EQ(c.preprocessing.resize_px, 36);
  EXPECT_EQ(c.preprocessing.crop_px, 32);
  EXPECT_EQ(c.preprocessing.path, ResizePath::kTensor);
  EXPECT_TRUE(c.preprocessing.half_features);

  const auto refused = [&](const char* part, const std::string& key, const nlohmann::json& value) {
    nlohmann::json changed = config;
    (part == nullptr ? changed : changed[part])[key] = value;
    const auto [code, text] = error_of([&] { (void)parse_vit_config(changed); });
    EXPECT_EQ(code, ErrorCode::kModel) << key;
    EXPECT_THAT(text, testing::HasSubstr(key));
  };
  refused(nullptr, "global_pool", "avg");
  refused(nullptr, "resize_path", "opencv");
  refused("model_args", "act_layer", "ReLU");
  refused("model_args", "qk_norm", true);
  refused("model_args", "global_pool", "map");
  refused("model_args", "num_classes", 1000);
  refused("model_args", "qkv_bias", false);
  refused("pretrained_cfg", "input_size", {3, 64, 64});
  refused("pretrained_cfg", "interpolation", "nearest");
  refused("pretrained_cfg", "crop_mode", "border");
  refused("pretrained_cfg", "crop_pct", 0);
}

INSTANTIATE_TEST_SUITE_P(Networks, VitGolden, testing::Values("uni", "uni2h", "hoptimus0"));

TEST(VitConfig, ReadsOurFormat) {
  nlohmann::json config = small_config();
  config["mlp"] = "swiglu";
  config["mlp_ratio"] = 5.33334;
  config["registers"] = 4;
  config["class_token_in_table"] = false;
  config["mean"] = {0.1, 0.2, 0.3};
  const VitConfig c = parse_vit_config(config);
  EXPECT_EQ(c.mlp, VitConfig::Mlp::kSwiGlu);
  EXPECT_EQ(c.mlp_hidden, 128);
  EXPECT_EQ(c.registers, 4);
  EXPECT_FLOAT_EQ(c.preprocessing.mean[1], 0.2f);
  EXPECT_FLOAT_EQ(c.preprocessing.std[0], 0.229f);
}

TEST(VitConfig, ReadsTheHubsFormat) {
  const VitConfig uni2h = parse_vit_config({{"architecture", "vit_giant_patch14_224"},
                                            {"model_args",
                                             {{"img_size", 224},
                                              {"patch_size", 14},
                                              {"depth", 24},
                                              {"num_heads", 24},
                                              {"init_values", 1e-5},
                                              {"embed_dim", 1536},
                                              {"mlp_ratio", 2.66667 * 2},
                                              {"no_embed_class", true},
                                              {"mlp_layer", "SwiGLUPacked"},
                                              {"reg_tokens", 8}}}});
  EXPECT_EQ(uni2h.mlp_hidden, 8192);
  EXPECT_EQ(uni2h.dim, 1536);
  EXPECT_FALSE(uni2h.class_token_in_table);

  const VitConfig hoptimus = parse_vit_config(
      {{"architecture", "vit_giant_patch14_reg4_dinov2"},
       {"model_args", {{"img_size", 224}}},
       {"pretrained_cfg", {{"mean", {0.707223, 0.578729, 0.703617}}, {"std", {0.211883, 0.230117, 0.177517}}}}});
  EXPECT_EQ(hoptimus.depth, 40);
  EXPECT_EQ(hoptimus.registers, 4);
  EXPECT_FLOAT_EQ(hoptimus.preprocessing.std[2], 0.177517f);
}

TEST(VitConfig, RefusesWhatCannotBe) {
  const auto refused = [](const std::string& key, const nlohmann::json& value) {
    nlohmann::json config = small_config();
    config[key] = value;
    const auto [code, text] = error_of([&] { (void)parse_vit_config(config); });
    EXPECT_EQ(code, ErrorCode::kModel);
    return text;
  };
  EXPECT_THAT(refused("architecture", "resnet50"), testing::HasSubstr("resnet50"));
  EXPECT_THAT(refused("image_px", 30), testing::HasSubstr("30 px"));
  EXPECT_THAT(refused("heads", 5), testing::HasSubstr("5 heads"));
  EXPECT_THAT(refused("dim", "wide"), testing::HasSubstr("\"dim\""));
  EXPECT_THAT(refused("dim", 0), testing::HasSubstr("\"dim\""));
  EXPECT_THAT(refused("mlp", "relu"), testing::HasSubstr("relu"));
  EXPECT_THAT(refused("std", {1, 1}), testing::HasSubstr("\"std\""));
  EXPECT_THAT(refused("std", {1, 1, 0}), testing::HasSubstr("\"std\""));
}

TEST(Vit, RefusesAnImageThatIsNoMultipleOfThePatch) {
  Vit network(parse_vit_config(small_config()));
  const auto [code, text] = error_of([&] { network->forward(at::zeros({1, 3, 32, 36})); });
  EXPECT_EQ(code, ErrorCode::kModel);
  EXPECT_THAT(text, testing::HasSubstr("36 x 32"));
}

TEST(Vit, CanBeTrained) {
  torch::manual_seed(1);
  Vit network(parse_vit_config(small_config()));
  network->forward(at::rand({2, 3, 32, 32})).square().sum().backward();
  for (const auto& item : network->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_TRUE(item.value().grad().isfinite().all().item<bool>()) << item.key();
  }
}

TEST(Vit, NamesEveryTensorThatDoesNotFit) {
  nlohmann::json config = golden_json("uni/config.json");
  config["model_args"]["reg_tokens"] = 2;
  config["model_args"]["depth"] = 2;
  Vit network(parse_vit_config(config));
  const auto [code, text] = error_of([&] { load(*network, golden("uni/weights.safetensors")); });
  EXPECT_EQ(code, ErrorCode::kModel);
  EXPECT_THAT(text, testing::HasSubstr("reg_token"));
  EXPECT_THAT(text, testing::HasSubstr("blocks.2.norm1.weight"));
}

}  // namespace
}  // namespace vtissue::models
