// What STMDiT can be trained as: every variant, both objectives, from scratch and from another network.

#include "models/stmdit/checkpoint.h"
#include "models/training/gene_conditions.h"
#include "models/training/stmdit_objective.h"
#include "models/training/trainer.h"
#include "tests/models/training/toy_training.h"

namespace vtissue::models::training {
namespace {

using ::testing::HasSubstr;

constexpr Role kBeforeStmdit[] = {Role::kAutoencoder, Role::kEncoder, Role::kPredictor, Role::kExpression};

struct Variant {
  const char* name;
  json model;  ///< what differs from the toy configuration
};

class StmditTraining : public ToyTraining, public testing::TestWithParam<Variant> {
 protected:
  static void SetUpTestSuite() { train_all(kBeforeStmdit); }
  static void TearDownTestSuite() { remove_all(); }

  static TrainOptions options_of(const Variant& variant, const std::string& folder) {
    TrainOptions training = options(Role::kStmdit, *root_ / folder);
    training.config["model"].update(variant.model);
    return training;
  }

  static std::vector<double> losses(const fs::path& out) {
    std::vector<double> values;
    for (const json& line : lines(out / "train.jsonl")) {
      if (line.contains("loss")) values.push_back(line["loss"]);
    }
    return values;
  }

  static json figures(const fs::path& out) { return json::parse(content(out / "figures.json")).at("figures"); }
};

const Variant kVariants[] = {
    {"pixcell", {{"variant", "pixcell"}}},
    {"adaln", {{"variant", "adaln"}}},
    {"xattn_mean", {{"variant", "xattn"}, {"xattn_mode", "separate"}, {"pool", "mean"}}},
    {"xattn_pma", {{"variant", "adaln+xattn"}, {"pool", "pma"}, {"pma_seeds", 3}}},
    {"every_gene", {{"variant", "xattn"}, {"pool", "none"}}},
    {"epsilon", {{"objective", "ddpm"}}},
    {"epsilon_and_variance", {{"variant", "pixcell"}, {"objective", "ddpm"}, {"learn_sigma", true}}},
};

TEST_P(StmditTraining, Learns) {
  const TrainOptions training = options_of(GetParam(), GetParam().name);
  train(training);
  const std::vector<double> values = losses(training.out);
  const auto mean = [&](std::size_t from) {
    return (values[from] + values[from + 1] + values[from + 2] + values[from + 3]) / 4;
  };
  EXPECT_LT(mean(values.size() - 4), 0.97 * mean(0));

  const json config = json::parse(content(training.out / "config.json"));
  Stmdit model(parse_stmdit_config(config));
  load_stmdit(*model, StateDict::open(training.out / "model.safetensors"));
  const bool genes = model->config().takes_genes();
  EXPECT_EQ(config.contains("gene_sha256"), genes);
  if (genes) {
    EXPECT_EQ(model->config().gene_vectors, model->config().pool == StmditConfig::Pool::kCls ? 1 : 7);
  }
  EXPECT_EQ(figures(training.out).contains("loss_g"), genes);
  EXPECT_THAT(content(training.out / "samples.ppm"), testing::StartsWith("P6\n"));
  EXPECT_THAT(content(training.out / "loss.svg"), testing::AllOf(HasSubstr("held out: loss"), HasSubstr("training")));
}

TEST_P(StmditTraining, GoesOnAfterAStopAsIfThereWasNone) {
  const fs::path whole = *root_ / GetParam().name;
  if (!fs::exists(whole / "model.safetensors")) train(options_of(GetParam(), GetParam().name));
  TrainOptions stopped = options_of(GetParam(), std::string("stopped-") + GetParam().name);
  int done = 0;
  stopped.progress = [&](const TrainEvent& event) { done += event.text.starts_with("loss") ? 1 : 0; };
  stopped.stop_requested = [&] { return done >= 5; };
  EXPECT_THROW(train(stopped), Error);
  stopped.stop_requested = nullptr;
  train(stopped);
  EXPECT_TRUE(content(stopped.out / "model.safetensors") == content(whole / "model.safetensors"));
}

INSTANTIATE_TEST_SUITE_P(Variants, StmditTraining, testing::ValuesIn(kVariants),
                         [](const auto& test) { return std::string(test.param.name); });

class StmditTrainingFrom : public StmditTraining {};

TEST_F(StmditTrainingFrom, APixcellIsThatPixcellAtTheStart) {
  const TrainOptions source = options_of(kVariants[0], "source");
  train(source);
  for (const char* mode : {"separate", "concat"}) {
    SCOPED_TRACE(mode);
    TrainOptions tuned = options_of({"", {{"xattn_mode", mode}}}, std::string("tuned-") + mode);
    tuned.init = source.out;
    tuned.config["optimizer"]["steps"] = 4;
    train(tuned);
    const double at_start = lines(tuned.out / "train.jsonl").front().at("validation")["loss"];
    const double trained = figures(source.out)["loss"];
    // Stored in float16. In concat mode the gene token has a share in the attention from the start.
    EXPECT_NEAR(at_start, trained, (std::string(mode) == "separate" ? 1e-3 : 0.1) * trained);
    // The toy set is learned by heart: trained and untrained are far apart.
    EXPECT_GT(std::abs(trained - lines(source.out / "train.jsonl").front().at("validation")["loss"].get<double>()),
              0.3 * trained);
  }
}

TEST_F(StmditTrainingFrom, ItselfGoesOnWithEveryWeight) {
  const TrainOptions source = options_of({"", json::object()}, "stmdit");
  train(source);
  TrainOptions tuned = source;
  tuned.out = *root_ / "stmdit-again";
  tuned.init = source.out;
  tuned.config["optimizer"]["steps"] = 2;
  train(tuned);
  EXPECT_NEAR(lines(tuned.out / "train.jsonl").front().at("validation")["loss"].get<double>(),
              figures(source.out)["loss"].get<double>(), 2e-3);
}

TEST_F(StmditTrainingFrom, AnotherSizeIsRefused) {
  const TrainOptions source = options_of(kVariants[0], "source-of-32");
  train(source);
  TrainOptions other = options_of({"", {{"dim", 48}, {"heads", 3}}}, "of-48");
  other.init = source.out;
  try {
    train(other);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kModel);
    EXPECT_THAT(e.what(), HasSubstr("transformer_blocks.0."));
  }
}

TEST_F(StmditTrainingFrom, SpotsAloneNeedsNoPredictor) {
  TrainOptions measured = options_of({"", json::object()}, "spots-alone");
  measured.config["stmdit"]["pseudo_labels"] = false;
  measured.config["stmdit"]["spot_share"] = 0.25;
  measured.config["stmdit"]["gene_dropout"] = 0.0;
  measured.predictor.clear();
  train(measured);
  for (const json& line : lines(measured.out / "train.jsonl")) {
    if (line.contains("loss")) {
      EXPECT_EQ(line.at("genes"), 0.25);
    }
  }
}

TEST_F(StmditTrainingFrom, AVelocityHasNoVariance) {
  try {
    train(options_of({"", {{"learn_sigma", true}}}, "velocity-variance"));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
    EXPECT_THAT(e.what(), HasSubstr("\"learn_sigma\" has no meaning for the flow objective"));
  }
}

TEST_F(StmditTrainingFrom, VectorsOfAPlaceBeginWithItsClass) {
  const TrainOptions training = options_of({"", json::object()}, "conditions");
  const TrainingSet set = TrainingSet::open(training.data);
  FrozenEncoder encoder = FrozenEncoder::open(training.encoder);
  GeneConditions one(training, set, encoder, StmditConfig::Pool::kCls, true, 0.6);
  GeneConditions all(training, set, encoder, StmditConfig::Pool::kPma, true, 0.6);
  const std::vector<std::int64_t> rows = {one.row_of(spots_of(set, Split::kTrain).front()), 3, -1};
  ASSERT_EQ(all.row_of(spots_of(set, Split::kTrain).front()), rows[0]);
  const at::Tensor cls = one.gather(rows), vectors = all.gather(rows);
  ASSERT_EQ(vectors.sizes(), (std::vector<std::int64_t>{3, 7, 8}));
  EXPECT_LT((vectors.narrow(1, 0, 1) - cls).abs().max().item<double>(), 1e-5);
  EXPECT_EQ(all.deviation().sizes(), (std::vector<std::int64_t>{7, 8}));
}

/// A network that is right: its prediction leads back to the latents from any time.
TEST(StmditObjective, SamplingFromARightPredictionGivesTheLatents) {
  torch::manual_seed(3);
  const at::Tensor latents = at::randn({2, 4, 4, 4}), noise = at::randn({2, 4, 4, 4});
  StmditConfig config;
  config.learn_sigma = false;
  config.objective = StmditConfig::Objective::kFlow;
  const StmditObjective flow(config);
  const auto velocity = [&](const at::Tensor&, const at::Tensor&) { return noise - latents; };
  EXPECT_LT((flow.sample(velocity, noise, 7) - latents).abs().max().item<double>(), 1e-5);
  EXPECT_LT(flow.loss(velocity, latents, flow.spread_times(2), noise).total.item<double>(), 1e-10);

  config.objective = StmditConfig::Objective::kDdpm;
  const StmditObjective ddpm(config);
  const DiffusionSchedule schedule = diffusion_schedule();
  const auto epsilon = [&](const at::Tensor& x, const at::Tensor& t) {
    const double kept = schedule.alpha_bar[static_cast<std::size_t>(t[0].item<std::int64_t>())];
    return (x - std::sqrt(kept) * latents) / std::sqrt(1 - kept);
  };
  EXPECT_LT((ddpm.sample(epsilon, noise, 10) - latents).abs().max().item<double>(), 1e-2);
  const at::Tensor times = ddpm.draw_times(1, 5, 2);
  EXPECT_TRUE(at::equal(times, ddpm.draw_times(1, 5, 2)));
  EXPECT_LT(times.max().item<std::int64_t>(), 1000);
}

/// One weight, drawn to a target of each batch.
class OneWeight : public TrainingTask {
 public:
  explicit OneWeight(std::int64_t mean_of) : mean_of_(mean_of) {
    weight_ = net_->register_parameter("w", at::ones({1}));
  }
  torch::nn::Module& module() override { return *net_; }
  std::int64_t batch() const override { return 1; }
  Metrics validate() override { return {{"w", weight_.item<double>()}}; }
  at::Tensor loss(std::int64_t batch, Metrics&) override {
    at::Tensor sum = at::zeros({1});
    for (std::int64_t i = 0; i < mean_of_; ++i) sum = sum + (weight_ - target(batch * mean_of_ + i)).square();
    return (sum / static_cast<double>(mean_of_)).sum();
  }

 private:
  static double target(std::int64_t batch) { return static_cast<double>((batch * 7) % 5); }
  struct Net : torch::nn::Module {};
  std::shared_ptr<Net> net_ = std::make_shared<Net>();
  at::Tensor weight_;
  std::int64_t mean_of_;
};

TEST(Accumulation, IsAStepOfTheMeanOfItsBatches) {
  const auto trained = [](int accumulate, std::int64_t mean_of) {
    const fs::path out = fs::temp_directory_path() / ("vtissue-accumulate-" + std::to_string(::getpid()));
    fs::remove_all(out);
    fs::create_directories(out);
    json config = {{"seed", 1}, {"log_every", 5}, {"checkpoint_every", 100}, {"validate_every", 100}};
    config["optimizer"] = optimizer(20, 0.05);
    config["optimizer"]["accumulate"] = accumulate;
    TrainOptions options;
    options.config = config;
    options.out = out;
    OneWeight task(mean_of);
    const double weight = run_training(task, parse_loop_config(config), options).front().second;
    fs::remove_all(out);
    return weight;
  };
  EXPECT_NEAR(trained(3, 1), trained(1, 3), 1e-6);
  EXPECT_GT(std::abs(trained(1, 1) - trained(3, 1)), 1e-3);
}

TEST(Ema, IsFittedToTheStepsWhereItIsAuto) {
  json config = {{"seed", 1}, {"log_every", 5}, {"checkpoint_every", 100}, {"validate_every", 100}};
  for (const auto& [steps, decay] : {std::pair{1000, 0.98}, {200000, 0.9999}, {10, 0.0}}) {
    config["optimizer"] = optimizer(steps, 1e-3);
    config["optimizer"]["ema"] = "auto";
    EXPECT_DOUBLE_EQ(parse_loop_config(config).optimizer.ema, decay);
  }
  config["optimizer"]["ema"] = "some";
  EXPECT_THROW((void)parse_loop_config(config), Error);
}

}  // namespace
}  // namespace vtissue::models::training
