#include "models/stmdit/set_transformer.h"

#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

/// The float64 deviation of these goldens is 3e-7 of the largest value.
constexpr double kTolerance = 5e-6;

class SetTransformerGolden : public testing::TestWithParam<bool> {};

TEST_P(SetTransformerGolden, PoolsAndAttendsAsTheReference) {
  const torch::NoGradGuard no_grad;
  const nlohmann::json config = golden_json("set_transformer/config.json");
  const int dim = config["dim"], heads = config["num_heads"], seeds = config["num_seeds"];
  const std::string kind = GetParam() ? "ln" : "noln";
  const StateDict io = golden("set_transformer/io.safetensors");
  const auto expected = [&](const char* name) { return io.get(kind + "/" + name); };

  SetPooling pooling(dim, heads, seeds, GetParam());
  load(*pooling, golden("set_transformer/pma_" + kind + ".safetensors"));
  expect_close(pooling->forward(expected("x")), expected("out"), kTolerance);
  const at::Tensor query = pooling->seeds().expand({2, -1, -1});
  expect_close(pooling->named_modules()["mab"]->as<SetAttention>()->project_query(query), expected("projected_query"),
               kTolerance);

  SetSelfAttention self(dim, heads, GetParam());
  load(*self, golden("set_transformer/sab_" + kind + ".safetensors"));
  expect_close(self->forward(expected("x")), expected("sab_out"), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(LayerNorm, SetTransformerGolden, testing::Bool());

TEST(SetPooling, OrderOfTheSetDoesNotMatter) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  SetPooling pooling(12, 3, 2, true);
  pooling->seeds().normal_();
  const at::Tensor set = at::randn({1, 5, 12});
  expect_close(pooling->forward(set.flip(1)), pooling->forward(set), 1e-5);
}

}  // namespace
}  // namespace vtissue::models
