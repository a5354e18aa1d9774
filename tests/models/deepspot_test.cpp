#include "models/deepspot/deepspot.h"

#include "models/deepspot/losses.h"
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
  std::vector<at::Tensor> each;
  auto modules = network->named_modules();
  for (int j = 0; j < network->config().ensemble; ++j) {
    each.push_back(at::relu(modules["phi_spot." + std::to_string(j)]->as<DeepSpotPhi>()->linear()->forward(spot)));
  }
  expect_close(at::stack(each, 1), io.get("phi_each_spot"), kTolerance);
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

TEST(DeepSpotTraining, LossesAgree) {
  const StateDict io = golden("deepspot/spot_subspot_neighbors_e10.io.safetensors");
  for (const std::string name : {"mse", "cosine", "mse_cosine", "pearson", "mse_pearson"}) {
    const at::Tensor loss = deepspot_loss(parse_deepspot_loss(name), io.get("out"), io.get("y_target"));
    const double expected = io.get("loss_" + name).item<double>();
    EXPECT_NEAR(loss.item<double>(), expected, 1e-6 * expected) << name;
  }
  EXPECT_EQ(error_of([] { (void)parse_deepspot_loss("poison"); }).first, ErrorCode::kUsage);
}

TEST(DeepSpotTraining, ScalerAndTargetsAgree) {
  const StateDict io = golden("deepspot/spot_subspot_neighbors_e10.io.safetensors");
  const at::Tensor data = io.get("scaler_fit_data");
  const GeneScaler scaler = GeneScaler::fit(data);
  expect_close(scaler.mean, io.get("scaler_mean"), 1e-12);
  expect_close(scaler.scale, io.get("scaler_scale"), 1e-12);
  expect_close(scaler.inverse_transform(io.get("out")), io.get("out_inverse"), kTolerance);
  expect_close(scaler.inverse_transform(scaler.transform(data)), data, 1e-12);
  expect_close(log1p_per_ten_thousand(io.get("norm_counts")), io.get("norm_log1p_fp64"), 1e-12);
}

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
