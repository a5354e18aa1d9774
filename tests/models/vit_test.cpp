#include "models/vit/vit.h"

#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

/// The float64 deviation of these goldens is 7e-7 of the largest value.
constexpr double kTolerance = 1e-5;

Vit load_golden(const std::string& name) {
  Vit network(parse_vit_config(golden_json(name + "/config.json")));
  load(*network, golden(name + "/weights.safetensors"));
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
  EXPECT_FLOAT_EQ(c.mean[1], 0.2f);
  EXPECT_FLOAT_EQ(c.std[0], 0.229f);
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
  EXPECT_FLOAT_EQ(hoptimus.std[2], 0.177517f);
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
