// The networks' forms for inference: the goldens pass through them in float32, and in bfloat16 within the bounds below.

#include "models/cancerfoundation/inference.h"
#include "models/stmdit/checkpoint.h"
#include "models/stmdit/inference.h"
#include "models/vit/inference.h"
#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

using Pool = StmditConfig::Pool;
using CrossAttention = StmditConfig::CrossAttention;

constexpr double kExact = 1e-5;
/// bfloat16 has 8 bits; what a few layers of it may be off, relative to the largest value.
constexpr double kBf16Bound = 0.02;

struct Precision {
  at::ScalarType dtype;
  double tolerance;
};
constexpr Precision kPrecisions[] = {{at::kFloat, kExact}, {at::kBFloat16, kBf16Bound}};

at::Tensor drawn(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat);
}

void shake_all(torch::nn::Module& network, double amount) {
  const at::NoGradGuard no_grad;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(11);
  for (const auto& p : network.parameters()) p.add_(at::randn(p.sizes(), generator, at::kFloat), amount);
}

class PixCellInference : public ::testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(PixCellInference, OutputsAreTheReferences) {
  const c10::InferenceMode inference;
  const auto& [folder, file] = GetParam();
  const StateDict io = golden(folder + "/io.safetensors");
  for (const auto& [dtype, tolerance] : kPrecisions) {
    Stmdit loaded(parse_stmdit_config(golden_json(folder + "/config.json")));
    load_stmdit(*loaded, golden(folder + "/" + file));
    const StmditInference network(*loaded, dtype, at::kCPU, io.get("x").size(0));
    const auto run = [&](const at::Tensor& x, const at::Tensor& t, const at::Tensor& y) {
      return network.forward({.x = x, .t = t, .morphology = y});
    };
    const at::Tensor x = io.get("x"), y = io.get("y");
    expect_close(run(x, io.get("t_a"), y), io.get("out_a"), tolerance);
    expect_close(run(x, io.get("t_b"), y), io.get("out_b"), tolerance);
    expect_close(run(x, io.get("t_a"), {}), io.get("out_u"), tolerance);
    at::Tensor fractional = run(x, io.get("t_f"), y);
    if (folder == "pixcell_1024") fractional = fractional.slice(2, 0, {}, 2).slice(3, 0, {}, 2);
    expect_close(fractional, io.get("out_f"), tolerance);
    expect_close(run(io.get("x_rect"), io.get("t_rect"), y.slice(0, 0, 1)), io.get("out_rect"), tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, PixCellInference,
                         ::testing::Values(std::pair{"pixcell_256", "weights.safetensors"},
                                           std::pair{"pixcell_1024", "weights.safetensors"},
                                           std::pair{"pixcell_1024", "original.safetensors"}));

struct InferenceVariant {
  std::string name;
  bool adaln;
  bool xattn;
  CrossAttention mode;
  Pool pool;
  bool gate = false;
  int morphology_tokens = 1;
};

class StmditInferenceVariants : public ::testing::TestWithParam<InferenceVariant> {};

TEST_P(StmditInferenceVariants, IsTheTrainableNetwork) {
  StmditConfig c;
  c.dim = 48;
  c.depth = 3;
  c.heads = 4;
  c.latent_channels = 4;
  c.latent_size = 8;
  c.morphology_dim = 12;
  c.gene_dim = 10;
  c.gene_vectors = 5;
  c.pma_seeds = 3;
  c.adaln = GetParam().adaln;
  c.xattn = GetParam().xattn;
  c.cross_attention = GetParam().mode;
  c.pool = GetParam().pool;
  c.gene_gate = GetParam().gate;
  c.morphology_tokens = GetParam().morphology_tokens;
  const at::NoGradGuard no_grad;
  Stmdit network(c);
  network->initialize(5);
  shake_all(*network, 0.08);
  StmditInput input;
  input.x = drawn({3, 4, 8, 8}, 1);
  input.t = at::tensor({3.0f, 500.5f, 990.0f});
  input.morphology = drawn({3, c.morphology_tokens, 12}, 2);
  input.gene = drawn({3, 5, 10}, 3);
  input.has_morphology = torch::tensor({true, false, true});
  input.has_gene = torch::tensor({false, true, true});
  StmditInput without = input;
  without.gene = without.morphology = at::Tensor();
  const at::Tensor expected = network->forward(input), expected_null = network->forward(without);
  for (const auto& [dtype, tolerance] : kPrecisions) {
    const c10::InferenceMode inference;
    const StmditInference fast(*network, dtype, at::kCPU, 3);
    expect_close(fast.forward(input), expected, tolerance);
    expect_close(fast.forward(without), expected_null, tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, StmditInferenceVariants,
    ::testing::Values(
        InferenceVariant{"pixcell", false, false, CrossAttention::kSeparate, Pool::kCls},
        InferenceVariant{"adaln", true, false, CrossAttention::kSeparate, Pool::kCls},
        InferenceVariant{"xattn_cls_gated", false, true, CrossAttention::kSeparate, Pool::kCls, true},
        InferenceVariant{"xattn_mean", false, true, CrossAttention::kSeparate, Pool::kMean},
        InferenceVariant{"xattn_pma", false, true, CrossAttention::kSeparate, Pool::kPma},
        InferenceVariant{"both_pma_gated", true, true, CrossAttention::kSeparate, Pool::kPma, true},
        InferenceVariant{"four_tokens_and_cls", true, true, CrossAttention::kSeparate, Pool::kCls, false, 4},
        InferenceVariant{"four_tokens_and_pma", true, true, CrossAttention::kSeparate, Pool::kPma, true, 4},
        InferenceVariant{"concat_cls", true, true, CrossAttention::kConcat, Pool::kCls},
        InferenceVariant{"concat_none", false, true, CrossAttention::kConcat, Pool::kNone}),
    [](const auto& variant) { return variant.param.name; });

class VitInferenceGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(VitInferenceGolden, OutputsAreTheReferences) {
  const c10::InferenceMode inference;
  const std::string name = GetParam();
  const StateDict io = golden(name + "/io.safetensors");
  for (const auto& [dtype, tolerance] : kPrecisions) {
    Vit loaded(parse_vit_config(golden_json(name + "/config.json")));
    load(*loaded, golden(name + "/weights.safetensors"));
    const VitInference network(*loaded, dtype, at::kCPU, io.get("x").size(0));
    expect_close(network.tokens(io.get("x")), io.get("features"), tolerance);
    expect_close(network.forward(io.get("x")), io.get("out"), tolerance);
    expect_close(network.forward(io.get("x2")), io.get("out2"), tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, VitInferenceGolden, ::testing::Values("uni", "uni2h", "hoptimus0"));

TEST(CancerFoundationInference, OutputsAreTheReferences) {
  const c10::InferenceMode inference;
  const nlohmann::json config = golden_json("cancerfoundation/args.json");
  const StateDict weights = golden("cancerfoundation/weights.safetensors");
  const StateDict io = golden("cancerfoundation/io.safetensors");
  for (const auto& [dtype, tolerance] : kPrecisions) {
    for (std::int64_t row = 0; row < 3; ++row) {
      CancerFoundation network(parse_cancerfoundation_config(config, 30));
      load(*network, weights, cancerfoundation_load_rules(weights));
      const at::Tensor gene = io.get("enc/gene")[row];
      const auto length = gene.ne(1).sum().item<std::int64_t>();  // the rest is padding
      std::vector<std::int64_t> ids;
      for (std::int64_t i = 0; i < length; ++i) ids.push_back(gene[i].item<std::int64_t>());
      const CancerFoundationInference fast(*network, ids, 51, dtype, at::kCPU, 1);
      const auto hidden = fast.forward(io.get("enc/expr")[row].narrow(0, 0, length).unsqueeze(0), true);
      expect_close(hidden.cls[0], io.get("enc/cls")[row], tolerance);
      expect_close(hidden.tokens[0], io.get("enc/hidden_valid_rows")[row].narrow(0, 0, length), tolerance);
    }
  }
}

TEST(CancerFoundationInference, IsTheTrainableNetwork) {
  const c10::InferenceMode inference;
  const nlohmann::json config = golden_json("cancerfoundation/args.json");
  const StateDict weights = golden("cancerfoundation/weights.safetensors");
  const std::vector<std::int64_t> ids = {0, 15, 5, 17, 29, 16, 25};
  const at::Tensor values = at::tensor({-2.0f, 0.0f, 3.0f, 50.0f, 7.0f, 7.0f, 21.0f}).unsqueeze(0).repeat({2, 1});
  for (const auto& [dtype, tolerance] : kPrecisions) {
    CancerFoundation network(parse_cancerfoundation_config(config, 30));
    load(*network, weights, cancerfoundation_load_rules(weights));
    network->eval();
    const at::Tensor expected = network->forward(at::tensor(ids, at::kLong).unsqueeze(0).repeat({2, 1}), values);
    const CancerFoundationInference fast(*network, ids, 51, dtype, at::kCPU, 2);
    const auto hidden = fast.forward(values, true);
    expect_close(hidden.tokens, expected, tolerance);
    expect_close(hidden.cls, expected.select(1, 0), tolerance);
    EXPECT_TRUE(at::equal(fast.forward(values, false).cls, hidden.cls))
        << "the cls does not depend on what else is wanted";
  }
}

}  // namespace
}  // namespace vtissue::models
