#include <array>
#include <cmath>
#include <fstream>
#include <limits>

#include "models/engines.h"
#include "models/stmdit/checkpoint.h"
#include "models/stmdit/guidance.h"
#include "models/stmdit/stmdit.h"
#include "tests/models/golden.h"
#include "tests/support/temp_folder.h"

namespace vtissue::models {
namespace {

using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;

constexpr int kTiles = 5;

const nlohmann::json kConfig = {{"architecture", "stmdit"},
                                {"name", "tiny"},
                                {"variant", "adaln+xattn"},
                                {"xattn_mode", "concat"},
                                {"pool", "cls"},
                                {"objective", "flow"},
                                {"dim", 48},
                                {"depth", 3},
                                {"heads", 3},
                                {"latent_channels", 4},
                                {"latent_size", 16},
                                {"morphology_dim", 20},
                                {"gene_dim", 12},
                                {"gene_vectors", 1},
                                {"morphology_sha256", "abc"},
                                {"micro_batch", 4}};

std::vector<float> normal(std::size_t count, std::uint64_t seed) {
  return to_vector(
      at::randn({static_cast<std::int64_t>(count)}, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat));
}

/// A model folder with random weights, the reference evaluation of its network, and inputs for some tiles.
class DenoiserTest : public ::testing::Test {
 protected:
  void SetUp() override {
    make(kConfig);
    device_ = Device::open("cpu", 2);
  }

  void make(const nlohmann::json& config) {
    std::ofstream(folder_ / "config.json") << config;
    network_ = Stmdit(parse_stmdit_config(config));
    network_->initialize(3);
    const at::NoGradGuard no_grad;
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(4);
    for (const auto& p : network_->parameters()) p.add_(at::randn(p.sizes(), generator, at::kFloat), 0.1);
    save(*network_, folder_ / "model.safetensors");
  }

  std::shared_ptr<Denoiser> load(int threads = 2) {
    return Denoiser::load(folder_.path(), Device::open("cpu", threads));
  }

  TileConditions conditions(int first, int n) const {
    const auto f = static_cast<std::size_t>(first), count = static_cast<std::size_t>(n);
    return {.morphology = std::span(morphology_).subspan(f * 20, count * 20),
            .has_morphology = std::span(has_morphology_).subspan(f, count),
            .gene = std::span(gene_).subspan(f * 12, count * 12),
            .has_gene = std::span(has_gene_).subspan(f, count)};
  }

  std::span<const float> tiles(int first, int n) const {
    return std::span(x_).subspan(static_cast<std::size_t>(first) * kTile, static_cast<std::size_t>(n) * kTile);
  }

  std::vector<float> predict(const Denoiser& denoiser, int first, int n, const Guidance& guidance,
                             double t = 0.7) const {
    std::vector<float> out(static_cast<std::size_t>(n) * kTile, 99.0f);
    denoiser.predict(tiles(first, n), n, t, conditions(first, n), guidance, out);
    return out;
  }

  /// e(m, g) of all tiles by the network itself.
  at::Tensor evaluate(bool morphology, bool gene, double network_t = 700) {
    const at::NoGradGuard no_grad;
    const auto tensor = [](const std::vector<float>& v, at::IntArrayRef shape) { return at::tensor(v).view(shape); };
    StmditInput input{.x = tensor(x_, {kTiles, 4, 16, 16}), .t = at::full({kTiles}, network_t)};
    if (morphology) input.morphology = tensor(morphology_, {kTiles, 20});
    if (gene) input.gene = tensor(gene_, {kTiles, 1, 12});
    return network_->forward(input).narrow(1, 0, 4);
  }

  static constexpr std::size_t kTile = 4 * 16 * 16;
  vtissue::testing::TempFolder folder_;
  Stmdit network_{nullptr};
  std::shared_ptr<Device> device_;
  std::vector<float> x_ = normal(kTiles * kTile, 1);
  std::vector<float> morphology_ = normal(kTiles * 20, 2);
  std::vector<float> gene_ = normal(kTiles * 12, 3);
  std::vector<std::uint8_t> has_morphology_ = std::vector<std::uint8_t>(kTiles, 1);
  std::vector<std::uint8_t> has_gene_ = std::vector<std::uint8_t>(kTiles, 1);
};

void expect_near(const std::vector<float>& ours, const at::Tensor& expected) {
  EXPECT_THAT(ours, Pointwise(FloatNear(2e-5f), to_vector(expected)));
}

TEST_F(DenoiserTest, SaysWhatTheFolderIs) {
  const auto denoiser = load();
  EXPECT_EQ(denoiser->info().name, "tiny");
  EXPECT_EQ(denoiser->info().micro_batch, 4);
  EXPECT_EQ(denoiser->info().sha256.size(), 64U);
  EXPECT_EQ(denoiser->latent_channels(), 4);
  EXPECT_EQ(denoiser->latent_size(), 16);
  EXPECT_EQ(denoiser->morphology_dim(), 20);
  EXPECT_EQ(denoiser->gene_dim(), 12);
  EXPECT_TRUE(denoiser->predicts_velocity());
  EXPECT_EQ(denoiser->morphology_sha256(), "abc");
  EXPECT_EQ(denoiser->gene_sha256(), "");
}

TEST_F(DenoiserTest, GuidanceLaws) {
  const auto denoiser = load();
  const at::Tensor e00 = evaluate(false, false), em0 = evaluate(true, false), e0g = evaluate(false, true),
                   emg = evaluate(true, true);
  const auto guided = [&](Guidance::Form form, float m, float g) {
    return predict(*denoiser, 0, kTiles, {.form = form, .morphology = m, .gene = g});
  };
  for (const auto form : {Guidance::Form::kMorphologyFirst, Guidance::Form::kGeneFirst}) {
    expect_near(guided(form, 1, 1), emg);
    expect_near(guided(form, 2.5f, 2.5f), e00 + 2.5 * (emg - e00));
    expect_near(guided(form, 0, 0), e00);
  }
  expect_near(guided(Guidance::Form::kMorphologyFirst, 2, 0), e00 + 2 * (em0 - e00));
  expect_near(guided(Guidance::Form::kMorphologyFirst, 1, 0), em0);
  expect_near(guided(Guidance::Form::kMorphologyFirst, 2, 3), e00 + 2 * (em0 - e00) + 3 * (emg - em0));
  expect_near(guided(Guidance::Form::kGeneFirst, 2, 3), e00 + 3 * (e0g - e00) + 2 * (emg - e0g));
}

TEST_F(DenoiserTest, MissingConditionsAreNull) {
  const auto denoiser = load();
  const Guidance guidance{.morphology = 2, .gene = 3};
  has_gene_.assign(kTiles, 0);
  expect_near(predict(*denoiser, 0, kTiles, guidance),
              evaluate(false, false) + 2 * (evaluate(true, false) - evaluate(false, false)));
  has_gene_.assign(kTiles, 1);
  has_morphology_.assign(kTiles, 0);
  expect_near(predict(*denoiser, 0, kTiles, guidance),
              evaluate(false, false) + 3 * (evaluate(false, true) - evaluate(false, false)));
  has_gene_.assign(kTiles, 0);
  std::vector<float> out(kTiles * kTile);
  denoiser->predict(x_, kTiles, 0.7, {}, guidance, out);
  EXPECT_EQ(out, predict(*denoiser, 0, kTiles, guidance));
}

TEST_F(DenoiserTest, BytesDependOnTheTileOnly) {
  const Guidance guidance{.morphology = 2, .gene = 1.5f};
  has_gene_[1] = 0;
  has_morphology_[3] = 0;
  std::vector<float> reference;
  for (const int threads : {1, 2}) {
    const auto denoiser = load(threads);
    const std::vector<float> together = predict(*denoiser, 0, kTiles, guidance);
    if (reference.empty()) reference = together;
    EXPECT_EQ(together, reference) << threads << " threads";
    for (int first = 0; first < kTiles; ++first) {
      for (int n = 1; first + n <= kTiles; ++n) {
        const auto begin = reference.begin() + static_cast<std::ptrdiff_t>(kTile) * first;
        const std::vector<float> expected(begin, begin + static_cast<std::ptrdiff_t>(kTile) * n);
        EXPECT_EQ(predict(*denoiser, first, n, guidance), expected)
            << n << " tiles from " << first << ", " << threads << " threads";
      }
    }
  }
}

TEST_F(DenoiserTest, EpsilonHalfOfPixCellIsTheReferences) {
  std::filesystem::copy(golden_path("pixcell_256/config.json"), folder_ / "config.json",
                        std::filesystem::copy_options::overwrite_existing);
  std::filesystem::remove(folder_ / "model.safetensors");
  std::filesystem::copy(golden_path("pixcell_256/weights.safetensors"),
                        folder_ / "diffusion_pytorch_model.safetensors");
  const auto denoiser = load();
  EXPECT_EQ(denoiser->gene_dim(), 0);
  EXPECT_FALSE(denoiser->predicts_velocity());
  const StateDict io = golden("pixcell_256/io.safetensors");
  const std::vector<float> x = to_vector(io.get("x")[0]), y = to_vector(io.get("y")[0]);
  const std::vector<std::uint8_t> has = {1};
  std::vector<float> out(x.size());
  const double t = io.get("t_a")[0].item<double>();
  denoiser->predict(x, 1, t, {.morphology = y, .has_morphology = has}, {.morphology = 2, .gene = 1}, out);
  const at::Tensor conditional = io.get("out_a")[0].narrow(0, 0, 16), null = io.get("out_u")[0].narrow(0, 0, 16);
  expect_close(at::tensor(out).view_as(null), null + 2 * (conditional - null), 1e-5);
}

TEST_F(DenoiserTest, NothingThatIsNotFiniteComesOut) {
  const std::string last = StateDict::open(folder_ / "model.safetensors").tensors().back().name;
  for (const auto& item : network_->named_parameters()) {
    if (item.value().dim() < 2 || item.key().find("blocks.2") == std::string::npos) continue;
    save(*network_, folder_ / "model.safetensors");
    poison(folder_ / "model.safetensors", item.key(), 3e38f, true);
    const auto denoiser = load();
    std::vector<float> out;
    try {
      out = predict(*denoiser, 0, 1, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kModel);
      EXPECT_THAT(error.what(), HasSubstr("tiny: predictions at t = 0.7 that are not finite")) << item.key();
    }
    for (const float value : out) ASSERT_TRUE(std::isfinite(value)) << item.key();
  }
  save(*network_, folder_ / "model.safetensors");
  poison(folder_ / "model.safetensors", last, NAN);
  const auto [code, text] = error_of([&] { load(); });
  EXPECT_EQ(code, ErrorCode::kModel);
  EXPECT_THAT(text, HasSubstr("not finite: " + last));
}

TEST_F(DenoiserTest, WrongInputsAreRefused) {
  const auto denoiser = load();
  std::vector<float> out(kTiles * kTile);
  const auto call = [&](int n, const TileConditions& c) {
    return error_of([&] {
      denoiser->predict(tiles(0, n), n, 0.5, c, {}, std::span(out).first(static_cast<std::size_t>(n) * kTile));
    });
  };
  TileConditions short_morphology = conditions(0, 2);
  short_morphology.morphology = short_morphology.morphology.first(30);
  EXPECT_EQ(call(2, short_morphology).first, ErrorCode::kBadInput);
  EXPECT_THAT(call(2, short_morphology).second, HasSubstr("morphology has 30 values, expected 40"));
  EXPECT_THAT(call(2, conditions(0, 3)).second, HasSubstr("has_morphology has 3 values, expected 2"));
  EXPECT_THAT(error_of([&] { denoiser->predict(tiles(0, 1), 2, 0.5, {}, {}, out); }).second, HasSubstr("x has 1024"));
  morphology_[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(call(1, conditions(0, 1)).first, ErrorCode::kModel);
  EXPECT_THAT(call(1, conditions(0, 1)).second, HasSubstr("not finite"));
}

TEST_F(DenoiserTest, BadFoldersAreRefused) {
  const auto message = [&](const std::filesystem::path& folder) {
    const auto [code, text] = error_of([&] { Denoiser::load(folder, device_); });
    EXPECT_EQ(code, ErrorCode::kModel);
    return text;
  };
  EXPECT_THAT(message(folder_ / "missing"), HasSubstr("no such folder"));
  nlohmann::json config = kConfig;
  config["depth"] = 4;
  std::ofstream(folder_ / "config.json") << config;
  EXPECT_THAT(message(folder_.path()), HasSubstr("transformer_blocks.3.attn1.to_k.bias [48]"));
  config["depth"] = "deep";
  std::ofstream(folder_ / "config.json") << config;
  EXPECT_THAT(message(folder_.path()), HasSubstr("config.json: config: \"depth\" is \"deep\""));
  config["architecture"] = "unet";
  std::ofstream(folder_ / "config.json") << config;
  EXPECT_THAT(message(folder_.path()), HasSubstr("\"unet\""));
  std::ofstream(folder_ / "config.json") << "[1]";
  EXPECT_THAT(message(folder_.path()), HasSubstr("not a JSON object"));
  std::ofstream(folder_ / "config.json") << "{";
  EXPECT_THAT(message(folder_.path()), HasSubstr("not valid JSON"));
  std::ofstream(folder_ / "config.json") << kConfig;
  std::filesystem::remove(folder_ / "model.safetensors");
  EXPECT_THAT(message(folder_.path()), HasSubstr("weights are missing"));
}

// The learned-sigma half comes from the branch with the most conditions, whatever the weights.
TEST_F(DenoiserTest, VarianceIsNeverGuided) {
  nlohmann::json config = kConfig;
  config["objective"] = "ddpm";
  make(config);
  const auto denoiser = load();
  ASSERT_TRUE(denoiser->predicts_variance());
  const at::NoGradGuard no_grad;
  const auto network_variance = [&](bool morphology, bool gene) {
    StmditInput input{.x = at::tensor(x_).view({kTiles, 4, 16, 16}), .t = at::full({kTiles}, 400.0)};
    if (morphology) input.morphology = at::tensor(morphology_).view({kTiles, 20});
    if (gene) input.gene = at::tensor(gene_).view({kTiles, 1, 12});
    return network_->forward(input).narrow(1, 4, 4);
  };
  const auto variance = [&](const Guidance& guidance) {
    std::vector<float> out(x_.size()), result(x_.size());
    denoiser->predict(x_, kTiles, 400, conditions(0, kTiles), guidance, out, result);
    EXPECT_EQ(out, predict(*denoiser, 0, kTiles, guidance, 400)) << "asking for it changes nothing";
    return result;
  };
  for (const Guidance::Form form :
       {Guidance::Form::kMorphologyFirst, Guidance::Form::kGeneFirst, Guidance::Form::kOrdinary}) {
    for (const float w : {1.0f, 2.0f, 7.0f}) {
      expect_near(variance({.form = form, .morphology = w, .gene = 1.5f}), network_variance(true, true));
    }
  }
  expect_near(variance({.morphology = 3, .gene = 0}), network_variance(true, false));
  expect_near(variance({.form = Guidance::Form::kExpressionOnly, .gene = 3}), network_variance(false, true));
}

TEST_F(DenoiserTest, RefusesVarianceThatIsNotPredicted) {
  const auto denoiser = load();
  EXPECT_FALSE(denoiser->predicts_variance());
  std::vector<float> out(x_.size()), variance(x_.size());
  const auto [code, text] =
      error_of([&] { denoiser->predict(x_, kTiles, 0.5, conditions(0, kTiles), Guidance{}, out, variance); });
  EXPECT_EQ(code, ErrorCode::kUsage);
  EXPECT_THAT(text, HasSubstr("predicts no variance"));
}

constexpr double kLevel = 0.5;

TEST(GuidanceBranches, OnlyWhatIsNeeded) {
  const auto count = [](Guidance guidance, bool m, bool g) { return guidance_branches(guidance, kLevel, m, g).size(); };
  EXPECT_EQ(count({.morphology = 1, .gene = 1}, true, true), 1U);
  EXPECT_EQ(count({.morphology = 2, .gene = 2}, true, true), 2U);
  EXPECT_EQ(count({.morphology = 2, .gene = 0}, true, true), 2U);
  EXPECT_EQ(count({.morphology = 1, .gene = 3}, true, true), 2U);
  EXPECT_EQ(count({.morphology = 2, .gene = 3}, true, true), 3U);
  EXPECT_EQ(count({.morphology = 2, .gene = 3}, true, false), 2U);
  EXPECT_EQ(count({.morphology = 2.1f, .gene = 1}, false, true), 1U) << "w_g = 1 without morphology is e(0, g)";
  EXPECT_EQ(count({.morphology = 2, .gene = 3}, false, false), 1U);
}

using Form = Guidance::Form;
constexpr std::array kForms = {Form::kMorphologyFirst, Form::kGeneFirst, Form::kOrdinary, Form::kExpressionOnly};

TEST(GuidanceBranches, WeightsAddUpToOneAndTheFullestComesLast) {
  for (const auto form : kForms) {
    for (const float m : {0.0f, 1.0f, 1.7f, 4.0f}) {
      for (const float g : {0.0f, 1.0f, 2.3f}) {
        for (const int has : {0, 1, 2, 3}) {
          double sum = 0;
          int conditions = 0;
          for (const auto& branch :
               guidance_branches({.form = form, .morphology = m, .gene = g}, kLevel, has & 1, has & 2)) {
            sum += branch.weight;
            EXPECT_GE(branch.morphology + branch.gene, conditions);
            conditions = branch.morphology + branch.gene;
          }
          EXPECT_NEAR(sum, 1, 1e-12);
        }
      }
    }
  }
}

/// The guided prediction with e(0,0) = 1, e(m,0) = 10, e(0,g) = 100, e(m,g) = 1000: its digits are the weights.
double guided(const Guidance& guidance, double level = kLevel) {
  double sum = 0;
  for (const auto& branch : guidance_branches(guidance, level, true, true)) {
    sum += branch.weight * (branch.morphology ? (branch.gene ? 1000 : 10) : (branch.gene ? 100 : 1));
  }
  return sum;
}

// The four laws of models.md 1.2.6, for both nestings.
TEST(GuidanceLaws, EqualWeightsAreOrdinaryGuidance) {
  for (const float w : {0.0f, 1.0f, 2.0f, 3.5f}) {
    const double ordinary = guided({.form = Form::kOrdinary, .morphology = w, .gene = 77});
    EXPECT_NEAR(ordinary, 1 + w * (1000 - 1), 1e-9);
    for (const Form form : {Form::kMorphologyFirst, Form::kGeneFirst}) {
      EXPECT_NEAR(guided({.form = form, .morphology = w, .gene = w}), ordinary, 1e-9);
    }
  }
}

TEST(GuidanceLaws, WeightsOfOneAreTheConditionalPrediction) {
  for (const Form form : {Form::kMorphologyFirst, Form::kGeneFirst, Form::kOrdinary}) {
    const Guidance guidance{.form = form, .morphology = 1, .gene = 1};
    EXPECT_EQ(guided(guidance), 1000);
    EXPECT_EQ(guidance_branches(guidance, kLevel, true, true).size(), 1U);
  }
}

TEST(GuidanceLaws, WithoutTheNestedWeightItIsGuidanceOnTheOther) {
  EXPECT_NEAR(guided({.morphology = 3, .gene = 0}), 1 + 3 * (10 - 1), 1e-9);
  EXPECT_NEAR(guided({.form = Form::kGeneFirst, .morphology = 0, .gene = 3}), 1 + 3 * (100 - 1), 1e-9);
}

TEST(GuidanceLaws, AWeightOfOneAndOneOfZeroIsThePredictionWithOneCondition) {
  EXPECT_EQ(guided({.morphology = 1, .gene = 0}), 10);
  EXPECT_EQ(guided({.form = Form::kGeneFirst, .morphology = 0, .gene = 1}), 100);
}

TEST(Guidance, FormulasOfTheDocument) {
  EXPECT_NEAR(guided({.morphology = 2, .gene = 3}), 1 + 2 * (10 - 1) + 3 * (1000 - 10), 1e-9);
  EXPECT_NEAR(guided({.form = Form::kGeneFirst, .morphology = 2, .gene = 3}), 1 + 3 * (100 - 1) + 2 * (1000 - 100),
              1e-9);
  EXPECT_NEAR(guided({.form = Form::kExpressionOnly, .morphology = 9, .gene = 3}), 1 + 3 * (100 - 1), 1e-9);
}

TEST(Guidance, IntervalsBelongToTheirModality) {
  Guidance guidance{.morphology = 3, .gene = 2};
  guidance.morphology_interval = {0.2f, 0.6f};
  guidance.gene_interval = {0.5f, 1.0f};
  const auto nested = [](double m, double g) { return 1 + m * (10 - 1) + g * (1000 - 10); };
  EXPECT_NEAR(guided(guidance, 0.1), nested(1, 1), 1e-9);
  EXPECT_NEAR(guided(guidance, 0.3), nested(3, 1), 1e-9);
  EXPECT_NEAR(guided(guidance, 0.55), nested(3, 2), 1e-9);
  EXPECT_NEAR(guided(guidance, 0.9), nested(1, 2), 1e-9);
  guidance.gene = 0;
  EXPECT_NEAR(guided(guidance, 0.3), nested(3, 0), 1e-9) << "what is switched off stays off";
}

}  // namespace
}  // namespace vtissue::models
