#include "models/training/train.h"

#include <gmock/gmock.h>

#include <fstream>

#include "core/error.h"
#include "models/stmdit/stmdit.h"
#include "models/training/checkpoint.h"
#include "models/training/frozen.h"
#include "models/training/neighbourhood.h"
#include "models/training/training_set.h"
#include "tests/models/training/toy_training.h"

namespace vtissue::models::training {
namespace {

constexpr Role kAll[] = {Role::kAutoencoder, Role::kEncoder, Role::kPredictor, Role::kExpression, Role::kStmdit};

class TrainTest : public ToyTraining, public testing::TestWithParam<Role> {
 protected:
  static void SetUpTestSuite() { train_all(kAll); }
  static void TearDownTestSuite() { remove_all(); }
};

TEST_P(TrainTest, LossFalls) {
  std::vector<double> losses;
  for (const json& line : lines(trained(GetParam()) / "train.jsonl")) {
    if (line.contains("loss")) losses.push_back(line["loss"]);
  }
  const auto steps = toy_config(GetParam())["optimizer"]["steps"].get<std::size_t>();
  ASSERT_EQ(losses.size(), steps);
  const auto mean = [&](std::size_t from) {
    return (losses[from] + losses[from + 1] + losses[from + 2] + losses[from + 3]) / 4;
  };
  EXPECT_LT(mean(steps - 4), 0.95 * mean(0));
}

TEST_P(TrainTest, WritesAModelAndItsFigures) {
  const fs::path out = trained(GetParam());
  const json figures = json::parse(content(out / "figures.json"));
  EXPECT_EQ(figures.at("role"), to_string(GetParam()));
  EXPECT_FALSE(figures.at("figures").empty());
  switch (GetParam()) {
    case Role::kAutoencoder:
      EXPECT_EQ(FrozenAutoencoder::open(out).channels, 4);
      break;
    case Role::kEncoder:
      EXPECT_EQ(FrozenEncoder::open(out).dim, 16);
      break;
    case Role::kPredictor:
      EXPECT_EQ(FrozenPredictor::open(out).genes.size(), 6u);
      break;
    case Role::kExpression:
      EXPECT_EQ(FrozenExpression::open(out).dim, 8);
      break;
    case Role::kStmdit: {
      const json config = json::parse(content(out / "config.json"));
      EXPECT_EQ(config.at("gene_sha256"), FrozenExpression::open(*root_ / "expression").sha256);
      Stmdit model(parse_stmdit_config(config));
      load(*model, StateDict::open(out / "model.safetensors"));
      EXPECT_THAT(content(out / "samples.ppm"), testing::StartsWith("P6\n"));
      break;
    }
  }
}

TEST_P(TrainTest, GoesOnAfterAStopAsIfThereWasNone) {
  const fs::path out = *root_ / ("stopped-" + std::string(to_string(GetParam())));
  TrainOptions interrupted = options(GetParam(), out);
  int done = 0;
  interrupted.progress = [&](const TrainEvent& event) {
    if (event.steps > 0 && event.text.starts_with("loss")) ++done;
  };
  int stopped_at = 0;
  interrupted.stop_requested = [&] { return done >= stopped_at; };
  int stops = 0;
  for (const int at : {3, 7, 100000}) {
    stopped_at = at;
    try {
      train(interrupted);
    } catch (const Error& e) {
      ASSERT_EQ(e.code(), ErrorCode::kInterrupted) << e.what();
      EXPECT_FALSE(fs::exists(out / "model.safetensors"));
      ++stops;
    }
  }
  EXPECT_EQ(stops, 2);
  EXPECT_TRUE(content(out / "model.safetensors") == content(trained(GetParam()) / "model.safetensors"))
      << "the weights differ from those of the uninterrupted training";
  std::vector<std::int64_t> steps;
  for (const json& line : lines(out / "train.jsonl")) {
    if (line.contains("loss")) steps.push_back(line["step"]);
  }
  for (std::size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i], static_cast<std::int64_t>(i + 1));
}

TEST_P(TrainTest, RefusesACheckpointOfAnotherConfiguration) {
  TrainOptions other = options(GetParam(), trained(GetParam()));
  other.config["optimizer"]["lr"] = 0.123;
  try {
    train(other);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
    EXPECT_THAT(e.what(), testing::HasSubstr("another configuration"));
  }
}

class TrainInputsTest : public TrainTest {
 protected:
  static void expect_refused(const TrainOptions& changed) {
    try {
      train(changed);
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage);
      EXPECT_THAT(e.what(), testing::HasSubstr("training set or model that it starts from"));
    }
  }
};

TEST_F(TrainInputsTest, ACheckpointOfAnotherSetOfTheSameSizeIsRefused) {
  const fs::path data = *root_ / "changed.safetensors";
  std::string bytes = content(*root_ / "toy.safetensors");
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  std::ofstream(data, std::ios::binary) << bytes;
  TrainOptions changed = options(Role::kEncoder, trained(Role::kEncoder));
  changed.data = data;
  expect_refused(changed);
}

TEST_F(TrainInputsTest, ACheckpointFromAnotherEncoderIsRefused) {
  const fs::path encoder = *root_ / "other-encoder";
  fs::create_directories(encoder);
  fs::copy(trained(Role::kEncoder) / "config.json", encoder / "config.json");
  std::string weights = content(trained(Role::kEncoder) / "model.safetensors");
  weights.back() = static_cast<char>(weights.back() ^ 1);
  std::ofstream(encoder / "model.safetensors", std::ios::binary) << weights;
  TrainOptions changed = options(Role::kPredictor, trained(Role::kPredictor));
  changed.encoder = encoder;
  expect_refused(changed);
}

TEST_F(TrainInputsTest, ThePredictorLearnsFromSubtiles) {
  const fs::path out = *root_ / "predictor-subtiles";
  TrainOptions with = options(Role::kPredictor, out);
  with.config["model"]["context"] = "spot_subspot_neighbors";
  train(with);
  std::vector<double> losses;
  for (const json& line : lines(out / "train.jsonl")) {
    if (line.contains("loss")) losses.push_back(line["loss"]);
  }
  EXPECT_LT(losses.back(), 0.95 * losses.front());
  FrozenPredictor predictor = FrozenPredictor::open(out);
  EXPECT_TRUE(predictor.deepspot->config().subtiles);

  // What it was trained on is what the engine is given: sub-tile k of a tile is its own picture, resized.
  const TrainingSet set = TrainingSet::open(*root_ / "toy.safetensors");
  FrozenEncoder encoder = FrozenEncoder::open(trained(Role::kEncoder));
  const std::vector<Crop> crops{crop_around(set, {0, 0}, encoder.px)};
  const Neighbourhood input = encode_neighbourhoods(set, encoder, crops, 0.3, true, with);
  const at::Tensor tile = read_crops(set, crops, encoder.px);
  const int side = encoder.px / 3;
  const at::Tensor right_of_centre = tile.narrow(1, side, side).narrow(2, 2 * side, side);
  EXPECT_TRUE(at::equal(input.sub.select(1, 5), encoder.encode_resized(right_of_centre)));
  EXPECT_EQ(predictor.predict(input).size(1), 6);

  // The roles that predict with it cut sub-tiles as well.
  TrainOptions next = options(Role::kExpression, *root_ / "expression-subtiles");
  next.predictor = out;
  train(next);
  EXPECT_TRUE(fs::exists(next.out / "model.safetensors"));
}

INSTANTIATE_TEST_SUITE_P(Roles, TrainTest, testing::ValuesIn(kAll),
                         [](const auto& test) { return std::string(to_string(test.param)); });

TEST(ParseRole, KnowsAllAndNoOther) {
  for (const Role role : kAll) EXPECT_EQ(parse_role(to_string(role)), role);
  EXPECT_THROW(parse_role("vae"), Error);
}

TEST(SetConfigValue, ChangesWhatIsThereAndNothingElse) {
  json config = toy_config(Role::kEncoder);
  set_config_value(config, "optimizer.steps=7");
  set_config_value(config, "model.name=other");
  EXPECT_EQ(config["optimizer"]["steps"], 7);
  EXPECT_EQ(config["model"]["name"], "other");
  for (const char* wrong : {"optimizer.step=7", "steps=7", "optimizer", "=1", "role.x=1"}) {
    try {
      set_config_value(config, wrong);
      FAIL() << wrong;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage);
      EXPECT_THAT(e.what(), testing::HasSubstr(wrong));
    }
  }
}

TEST(Configurations, OfTheDemoFamilyAreWhole) {
  for (const auto& [role, file] : {std::pair{Role::kAutoencoder, "autoencoder"},
                                   {Role::kEncoder, "encoder"},
                                   {Role::kPredictor, "predictor"},
                                   {Role::kExpression, "expression"},
                                   {Role::kStmdit, "stmdit"}}) {
    std::ifstream in(fs::path(VTISSUE_SOURCE_DIR) / "configs" / "train" / (std::string(file) + ".json"));
    const json config = json::parse(in);
    EXPECT_EQ(config.at("role"), to_string(role));
    const json toy = toy_config(role);
    for (const auto& [key, value] : toy.items()) {
      ASSERT_TRUE(config.contains(key)) << file << ": " << key;
      if (!value.is_object() || key == "model") continue;
      for (const auto& [name, unused] : value.items()) EXPECT_TRUE(config[key].contains(name)) << file << ": " << name;
      EXPECT_EQ(config[key].size(), value.size()) << file << ": " << key;
    }
  }
}

}  // namespace
}  // namespace vtissue::models::training
