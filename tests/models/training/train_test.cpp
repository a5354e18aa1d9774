#include "models/training/train.h"

#include <gmock/gmock.h>

#include <fstream>

#include "core/error.h"
#include "models/stmdit/stmdit.h"
#include "models/training/checkpoint.h"
#include "models/training/frozen.h"
#include "models/training/neighbourhood.h"
#include "models/training/training_set.h"
#include "tests/models/training/toy_set.h"

namespace vtissue::models::training {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json optimizer(int steps, double lr) {
  return {{"steps", steps},       {"lr", lr},    {"warmup", 3}, {"beta1", 0.9}, {"beta2", 0.95},
          {"weight_decay", 0.01}, {"clip", 1.0}, {"ema", 0.9}};
}

/// A network of each role small enough for a test; sizes match over roles.
json toy_config(Role role) {
  json config{
      {"role", to_string(role)}, {"seed", 11}, {"log_every", 1}, {"checkpoint_every", 4}, {"validate_every", 1000}};
  switch (role) {
    case Role::kAutoencoder:
      config["optimizer"] = optimizer(24, 3e-3);
      config["model"] = {{"architecture", "taesd"},
                         {"name", "toy"},
                         {"latent_channels", 4},
                         {"width", 8},
                         {"encoder_blocks", {1, 0, 0, 1}},
                         {"decoder_blocks", {1, 0, 0, 1}},
                         {"pooled_mid", false}};
      config["autoencoder"] = {{"batch", 4},
                               {"crop_px", 32},
                               {"min_tissue", 0.6},
                               {"latent_noise", 0.05},
                               {"gradient_weight", 1.0},
                               {"texture_weight", 1.0},
                               {"whiten_weight", 0.01},
                               {"pca_crops", 4},
                               {"validation_crops", 4},
                               {"freeze_encoder_entry", true}};
      config["distillation"] = {{"batch", 4}, {"latent_noise", 0.05}, {"optimizer", optimizer(6, 3e-3)}};
      break;
    case Role::kEncoder:
      config["optimizer"] = optimizer(24, 3e-3);
      config["model"] = {{"architecture", "vit"},
                         {"name", "toy"},
                         {"image_px", 32},
                         {"patch_px", 16},
                         {"dim", 16},
                         {"depth", 2},
                         {"heads", 2},
                         {"mlp_ratio", 2},
                         {"mlp", "gelu"},
                         {"layer_scale", true},
                         {"class_token_in_table", true},
                         {"registers", 0},
                         {"mean", {0.5, 0.5, 0.5}},
                         {"std", {0.2, 0.2, 0.2}},
                         {"layer_norm_eps", 1e-6}};
      config["encoder"] = {{"batch", 16},           {"min_tissue", 0.6},  {"shift_px", 4},
                           {"stain_jitter", 0.05},  {"temperature", 0.2}, {"contrast_weight", 0.3},
                           {"layout_weight", 1.0},  {"projection", 8},    {"layer_scale_init", 0.5},
                           {"validation_crops", 16}};
      break;
    case Role::kPredictor:
      config["optimizer"] = optimizer(40, 5e-3);
      config["model"] = {
          {"architecture", "deepspot"}, {"name", "toy"}, {"context", "spot_neighbors"}, {"ensemble", 2}, {"width", 16}};
      config["predictor"] = {{"batch", 16},       {"augmentations", 2},    {"jitter_px", 2},
                             {"min_tissue", 0.3}, {"feature_noise", 0.05}, {"top_genes", 3}};
      break;
    case Role::kExpression:
      config["optimizer"] = optimizer(40, 3e-3);
      config["model"] = {{"architecture", "cancerfoundation"},
                         {"name", "toy"},
                         {"dim", 8},
                         {"layers", 1},
                         {"heads", 2},
                         {"ff", 16},
                         {"bins", 9},
                         {"dropout", 0.1}};
      config["expression"] = {{"batch", 16},       {"masked_low", 0.1},      {"masked_high", 0.4},
                              {"thin_low", 0.5},   {"predicted_share", 0.5}, {"class_weight", 1.0},
                              {"min_tissue", 0.6}, {"validation_rows", 16}};
      break;
    case Role::kStmdit:
      config["optimizer"] = optimizer(30, 5e-3);
      config["model"] = {{"architecture", "stmdit"},
                         {"name", "toy"},
                         {"variant", "adaln+xattn"},
                         {"xattn_mode", "concat"},
                         {"pool", "cls"},
                         {"objective", "flow"},
                         {"dim", 32},
                         {"depth", 2},
                         {"heads", 2},
                         {"mlp_ratio", 2},
                         {"patch", 2},
                         {"interpolation_scale", 0.0625},
                         {"learn_sigma", false}};
      config["stmdit"] = {{"batch", 16},
                          {"min_tissue", 0.6},
                          {"morphology_dropout", 0.5},
                          {"gene_dropout", 0.5},
                          {"morphology_noise", 0.1},
                          {"gene_noise", 0.1},
                          {"section_balance", 0.2},
                          {"spot_share", 0.5},
                          {"spot_jitter_px", 4},
                          {"canvases", 2},
                          {"window_px", 64},
                          {"halo_px", 16},
                          {"validation_crops", 8},
                          {"samples", 2},
                          {"sample_steps", 2},
                          {"guidance_morphology", 2.0},
                          {"guidance_gene", 1.5}};
      break;
  }
  return config;
}

constexpr Role kAll[] = {Role::kAutoencoder, Role::kEncoder, Role::kPredictor, Role::kExpression, Role::kStmdit};

/// Stands in for the published autoencoder: its layout, toy sizes, random weights.
void write_toy_published(const fs::path& folder) {
  fs::create_directories(folder);
  torch::manual_seed(1);
  TaesdConfig config = parse_taesd_config(toy_config(Role::kAutoencoder)["model"]);
  config.latent_channels = 32;
  config.pooled_mid = true;
  const Taesd model(config);
  save_tensors(folder / "taef2_encoder.safetensors", weights_of(*model->encoder));
  save_tensors(folder / "taef2_decoder.safetensors", weights_of(*model->decoder));
}

/// Trains the five networks once for all tests.
class TrainTest : public testing::TestWithParam<Role> {
 protected:
  static void SetUpTestSuite() {
    root_ = new fs::path(fs::temp_directory_path() / ("vtissue-train-test-" + std::to_string(::getpid())));
    fs::remove_all(*root_);
    fs::create_directories(*root_);
    write_toy_set(*root_);
    write_toy_published(*root_ / "published");
    for (const Role role : kAll) train(options(role, *root_ / std::string(to_string(role))));
  }
  static void TearDownTestSuite() {
    fs::remove_all(*root_);
    delete root_;
    root_ = nullptr;
  }

  static TrainOptions options(Role role, const fs::path& out) {
    TrainOptions options;
    options.role = role;
    options.config = toy_config(role);
    options.data = *root_ / "toy.safetensors";
    options.out = out;
    options.init = *root_ / "published";
    options.autoencoder = *root_ / "ae";
    options.encoder = *root_ / "encoder";
    options.predictor = *root_ / "predictor";
    options.expression = *root_ / "expression";
    options.threads = 1;
    return options;
  }

  static std::string content(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  static std::vector<json> lines(const fs::path& path) {
    std::vector<json> entries;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) entries.push_back(json::parse(line));
    return entries;
  }

  static fs::path trained(Role role) { return *root_ / std::string(to_string(role)); }

  static fs::path* root_;
};

fs::path* TrainTest::root_ = nullptr;

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
