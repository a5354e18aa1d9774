#include "models/cancerfoundation/cancerfoundation.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include "core/safetensors.h"
#include "models/cancerfoundation/binning.h"
#include "models/cancerfoundation/vocabulary.h"
#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

/// The float64 deviation of these goldens is 4e-7 of the largest value.
constexpr double kTolerance = 1e-5;
constexpr int kBins = 51;

CancerFoundationConfig golden_config() {
  return parse_cancerfoundation_config(golden_json("cancerfoundation/args.json"), 30);
}

CancerFoundation load_golden() {
  CancerFoundation network(golden_config());
  const StateDict weights = golden("cancerfoundation/weights.safetensors");
  load(*network, weights, cancerfoundation_load_rules(weights));
  network->eval();
  return network;
}

TEST(CancerFoundation, EncodesWithPaddingAsTheOriginal) {
  const torch::NoGradGuard no_grad;
  const StateDict io = golden("cancerfoundation/io.safetensors");
  CancerFoundation network = load_golden();
  const at::Tensor hidden = network->forward(io.get("enc/gene"), io.get("enc/expr"));
  const at::Tensor valid = io.get("enc/pad_mask").logical_not().unsqueeze(-1);
  expect_close(hidden * valid, io.get("enc/hidden_valid_rows"), kTolerance);
  const at::Tensor cls = hidden.select(1, 0);
  expect_close(cls, io.get("enc/cls"), kTolerance);
  expect_close(cls / cls.norm(2, 1, true), io.get("enc/cls_l2"), kTolerance);
}

TEST(CancerFoundation, EmbeddingsAndFirstLayerAgree) {
  const torch::NoGradGuard no_grad;
  const StateDict io = golden("cancerfoundation/io.safetensors");
  CancerFoundation network = load_golden();
  auto modules = network->named_modules();
  const at::Tensor genes = modules["gene_encoder"]->as<CfGeneEncoder>()->forward(io.get("enc/gene"));
  const at::Tensor values = modules["value_encoder"]->as<CfValueEncoder>()->forward(io.get("enc/expr"));
  expect_close(genes, io.get("enc/gene_embedding"), kTolerance);
  expect_close(values, io.get("enc/value_embedding"), kTolerance);
  const at::Tensor valid = io.get("enc/pad_mask").logical_not();
  const at::Tensor mask = valid.unsqueeze(1).unsqueeze(1);
  const at::Tensor first = modules["encoder.layers.0"]->as<CfLayer>()->forward(genes + values, mask);
  expect_close(first * valid.unsqueeze(-1), io.get("enc/layer0_valid_rows"), kTolerance);
}

// The vocabulary as it is published: case matters, and what is not there is not found.
TEST(CancerFoundation, PublishedVocabularyIsRead) {
  const auto path = data_path("genes/vocab.json");
  if (!path) GTEST_SKIP() << "VTISSUE_DATA has no genes/vocab.json";
  std::ifstream in(*path);
  const CfVocabulary vocabulary = parse_cf_vocabulary(nlohmann::json::parse(in));
  const nlohmann::json expected = golden_json("cancerfoundation/real_vocab.json");
  EXPECT_EQ(vocabulary.size(), expected["entries"].get<std::size_t>());
  std::size_t not_upper = 0;
  for (const auto& [symbol, id] : vocabulary) {
    not_upper += std::any_of(symbol.begin(), symbol.end(), [](char c) { return c >= 'a' && c <= 'z'; }) ? 1 : 0;
  }
  EXPECT_EQ(not_upper, expected["not_upper_case_symbols"].get<std::size_t>());
  for (const auto& [symbol, id] : expected["lookups"].items()) {
    const auto found = vocabulary.find(symbol);
    if (id.is_null()) {
      EXPECT_EQ(found, vocabulary.end()) << symbol;
    } else {
      ASSERT_NE(found, vocabulary.end()) << symbol;
      EXPECT_EQ(found->second, id.get<std::int64_t>()) << symbol;
    }
  }
}

TEST(CancerFoundation, LargeValuesAreClamped) {
  const torch::NoGradGuard no_grad;
  const StateDict io = golden("cancerfoundation/io.safetensors");
  const at::Tensor hidden = load_golden()->forward(io.get("enc/gene"), io.get("enc/expr_over_512"));
  expect_close(hidden.select(1, 0), io.get("enc/cls_over_512"), kTolerance);
}

TEST(CancerFoundation, WithoutPaddingTheMaskMakesNoDifference) {
  const torch::NoGradGuard no_grad;
  CancerFoundation network = load_golden();
  const at::Tensor ids = at::tensor({0, 5, 9, 17, 3}, at::kLong).unsqueeze(0);
  const at::Tensor values = at::tensor({-2.0f, 1.0f, 50.0f, 0.0f, 7.0f}).unsqueeze(0);
  expect_close(network->forward(ids, values, false), network->forward(ids, values, true), 1e-6);
}

TEST(CancerFoundation, StripsTheNestedLevelAndIgnoresTheHeads) {
  const torch::NoGradGuard no_grad;
  // The published layout, made from the plain one.
  const SafetensorsFile plain = SafetensorsFile::open(golden_path("cancerfoundation/weights.safetensors"));
  std::vector<SafetensorsOutput> renamed;
  for (const SafetensorsEntry& entry : plain.entries()) {
    std::string name = entry.name;
    if (const auto at = name.find("self_attn."); at != std::string::npos) name.insert(at, "self_attn.");
    renamed.push_back({name, entry.dtype, entry.shape, entry.data});
  }
  renamed.push_back({"mvc_decoder.gene2query.weight", "F32", {0}, {}});
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "vtissue_nested.safetensors";
  write_safetensors(path, renamed);

  const StateDict weights = StateDict::open(path);
  CancerFoundation network(golden_config());
  load(*network, weights, cancerfoundation_load_rules(weights));
  network->eval();
  const StateDict io = golden("cancerfoundation/io.safetensors");
  expect_close(network->forward(io.get("enc/gene"), io.get("enc/expr")).select(1, 0), io.get("enc/cls"), kTolerance);
  std::filesystem::remove(path);
}

TEST(CancerFoundation, MissingTensorsAreNamed) {
  CancerFoundationConfig config = golden_config();
  config.layers = 4;
  CancerFoundation network(config);
  const StateDict weights = golden("cancerfoundation/weights.safetensors");
  const auto [code, text] = error_of([&] { load(*network, weights, cancerfoundation_load_rules(weights)); });
  EXPECT_EQ(code, ErrorCode::kModel);
  EXPECT_THAT(text, testing::HasSubstr("encoder.layers.3.self_attn.in_proj_weight"));
}

TEST(CancerFoundation, CanBeTrained) {
  torch::manual_seed(1);
  CancerFoundation network(golden_config());
  const at::Tensor ids = at::randint(2, 30, {2, 6}, at::kLong);
  network->forward(ids, at::rand({2, 6}) * 50).select(1, 0).pow(3).sum().backward();
  for (const auto& item : network->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_TRUE(item.value().grad().isfinite().all().item<bool>()) << item.key();
  }
}

TEST(CancerFoundationConfig, OursAndThePublishedKeys) {
  const CancerFoundationConfig published = golden_config();
  EXPECT_EQ(published.dim, 32);
  EXPECT_EQ(published.ff, 56);
  const CancerFoundationConfig ours =
      parse_cancerfoundation_config({{"dim", 64}, {"layers", 2}, {"heads", 4}, {"ff", 128}}, 10);
  EXPECT_EQ(ours.dim, 64);
  EXPECT_EQ(ours.layers, 2);
  EXPECT_EQ(error_of([] {
              (void)parse_cancerfoundation_config({{"dim", 30}, {"heads", 4}}, 10);
            }).first,
            ErrorCode::kModel);
}

class Binning : public testing::TestWithParam<const char*> {};

TEST_P(Binning, DeterministicDigitsAreExact) {
  const StateDict io = golden("cancerfoundation/io.safetensors");
  const std::string name = std::string("bin/") + GetParam();
  const std::vector<float> values = to_vector(io.get(name + "/values"));
  std::vector<float> digits(values.size());
  bin_expression(values, kBins, digits);
  // The branch for all zeros is broken upstream; expected are zeros, which is also what it holds.
  const bool zeros = !io.contains(name + "/deterministic_mid");
  EXPECT_EQ(digits, zeros ? std::vector<float>(values.size()) : to_vector(io.get(name + "/deterministic_mid")));
}

TEST_P(Binning, EdgesRangesAndDrawnDigitsAreExact) {
  const StateDict io = golden("cancerfoundation/io.safetensors");
  const std::string name = std::string("bin/") + GetParam();
  const std::vector<float> values = to_vector(io.get(name + "/values"));
  const BinRanges ranges = bin_ranges(values, kBins);
  if (!io.contains(name + "/edges")) {
    EXPECT_TRUE(ranges.edges.empty());
    return;
  }
  const auto equal = [](const auto& ours, const at::Tensor& expected) {
    return at::equal(at::tensor(ours).to(expected.scalar_type()), expected);
  };
  EXPECT_TRUE(equal(ranges.edges, io.get(name + "/edges")));
  EXPECT_TRUE(equal(ranges.left, io.get(name + "/left")));
  EXPECT_TRUE(equal(ranges.right, io.get(name + "/right")));
  const at::Tensor u = io.get(name + "/u").contiguous();
  std::vector<float> digits(values.size());
  bin_expression(values, kBins, std::span(u.const_data_ptr<double>(), values.size()), digits);
  EXPECT_TRUE(equal(digits, io.get(name + "/reference")));
}

INSTANTIATE_TEST_SUITE_P(Golden, Binning,
                         testing::Values("all_equal_positive", "all_positive", "counts_many_ties",
                                         "counts_overdispersed", "distinct_with_zeros", "log1p_of_counts",
                                         "n1199_counts", "n50_distinct", "n99_distinct", "negative_values",
                                         "one_nonzero", "short", "two_values", "zeros"));

TEST(BinExpression, MonotonousTransformsChangeNothing) {
  const std::vector<float> counts =
      to_vector(golden("cancerfoundation/io.safetensors").get("bin/distinct_with_zeros/values"));
  std::vector<float> logs;
  for (const float v : counts) logs.push_back(std::log1p(v));
  std::vector<float> a(counts.size());
  std::vector<float> b(counts.size());
  bin_expression(counts, kBins, a);
  bin_expression(logs, kBins, b);
  // Interpolated edges move with the transform, so a value next to one may take the neighbouring bin.
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1.0f);
}

TEST(BinExpression, WorksInPlace) {
  std::vector<float> values{3, 0, 1, 2};
  std::vector<float> digits(4);
  bin_expression(values, kBins, digits);
  bin_expression(values, kBins, values);
  EXPECT_EQ(values, digits);
}

TEST(BinExpression, RefusesValuesThatAreNotFinite) {
  std::vector<float> values{1, std::numeric_limits<float>::quiet_NaN()};
  const auto [code, text] = error_of([&] { bin_expression(values, kBins, values); });
  EXPECT_EQ(code, ErrorCode::kBadInput);
  EXPECT_THAT(text, testing::HasSubstr("gene 2"));
}

}  // namespace
}  // namespace vtissue::models
