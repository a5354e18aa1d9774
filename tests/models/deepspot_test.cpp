#include "models/deepspot/deepspot.h"

#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

/// The float64 deviation of these goldens is 4e-7 of the largest value.
constexpr double kTolerance = 1e-5;

DeepSpotConfig golden_config(const std::string& name) {
  const nlohmann::json all = golden_json("deepspot/config.json");
  const nlohmann::json one = all["cases"][name];
  return parse_deepspot_config({{"feature_dim", all["input_size"]},
                                {"genes", std::vector<std::string>(all["output_size"].get<std::size_t>(), "gene")},
                                {"width", all["phi2rho_size"]},
                                {"ensemble", one["n_ensemble"]},
                                {"context", one["spot_context"]}});
}

class DeepSpotGolden : public testing::TestWithParam<const char*> {};

TEST_P(DeepSpotGolden, EveryPartAgrees) {
  const torch::NoGradGuard no_grad;
  const std::string name = GetParam();
  const StateDict io = golden("deepspot/" + name + ".io.safetensors");
  DeepSpot network(golden_config(name));
  load(*network, golden("deepspot/" + name + ".weights.safetensors"));
  network->eval();
  const at::Tensor spot = io.get("x_spot").squeeze(1);
  expect_close(network->phi(spot), io.get("phi_spot"), kTolerance);
  expect_close(network->phi(io.get("x_sub")).sum(1), io.get("phi_sub_sum"), kTolerance);
  expect_close(network->phi(io.get("x_nb")).amax(1), io.get("phi_nb_max"), kTolerance);
  expect_close(network->forward(spot, io.get("x_sub"), io.get("x_nb")), io.get("out"), kTolerance);

  const auto [weight, bias] = network->folded_rho();
  expect_close(weight, io.get("folded.weight"), kTolerance);
  expect_close(bias, io.get("folded.bias"), kTolerance);
  const at::Tensor context = network->context(spot, io.get("x_sub"), io.get("x_nb"));
  expect_close(at::linear(context, weight, bias), io.get("out"), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Cases, DeepSpotGolden,
                         testing::Values("spot_subspot_neighbors_e10", "spot_subspot_neighbors_e3", "spot_e10",
                                         "spot_subspot_e4", "spot_neighbors_e10"));

TEST(DeepSpot, MaskedNeighborsTakeNoPart) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  DeepSpot network(golden_config("spot_neighbors_e10"));
  network->eval();
  const at::Tensor spot = at::randn({1, 24});
  const at::Tensor neighbors = at::randn({1, 5, 24});
  const at::Tensor mask = at::tensor({1, 1, 1, 0, 0}).to(at::kBool).unsqueeze(0);
  expect_close(network->forward(spot, {}, neighbors, mask), network->forward(spot, {}, neighbors.slice(1, 0, 3)), 1e-6);
}

TEST(DeepSpot, CanBeTrained) {
  torch::manual_seed(1);
  DeepSpot network(golden_config("spot_subspot_neighbors_e3"));
  network->forward(at::randn({64, 24}), at::randn({64, 9, 24}), at::randn({64, 8, 24})).square().sum().backward();
  for (const auto& item : network->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_GT(item.value().grad().abs().max().item<float>(), 0.0f) << item.key();
  }
}

TEST(DeepSpotConfig, RefusesWhatCannotBe) {
  const auto refused = [](const std::string& key, const nlohmann::json& value) {
    nlohmann::json config{{"feature_dim", 4}, {"genes", {"A"}}};
    config[key] = value;
    const auto [code, text] = error_of([&] { (void)parse_deepspot_config(config); });
    EXPECT_EQ(code, ErrorCode::kModel);
    return text;
  };
  EXPECT_THAT(refused("context", "neighbors"), testing::HasSubstr("\"neighbors\""));
  EXPECT_THAT(refused("ensemble", 0), testing::HasSubstr("\"ensemble\""));
  EXPECT_THAT(refused("genes", nlohmann::json::array()), testing::HasSubstr("\"genes\""));
}

}  // namespace
}  // namespace vtissue::models
