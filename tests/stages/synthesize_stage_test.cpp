#include "stages/synthesize/synthesize_stage.h"

#include <gmock/gmock.h>

#include <cmath>
#include <utility>

#include "io/feature_store.h"
#include "io/latent_store.h"
#include "models/noise.h"
#include "stages/synthesize/synthesize_config.h"
#include "tests/stages/probe_denoiser.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::HasSubstr;

class SynthesizeStageTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(4, 3);
    embed();
  }
  pipeline::Bindings inputs() const { return {{"features", file("features.h5")}}; }
  pipeline::Bindings with_genes() const { return {{"features", file("features.h5")}, {"genes", file("genes.h5")}}; }
  pipeline::Bindings output(const std::string& name) const { return {{"latents", file(name)}}; }

  /// genes.h5 of the fixture's tiles: cls (1, 2) and `tokens` tokens of (10, 20); every second one invalid.
  void write_genes(int tokens, const std::string& slide_sha256) {
    io::FeatureWriter writer(file("genes.h5"), tiles_.cells, slide_sha256);
    const auto write = [&](const std::string& name, int vectors, std::vector<float> row) {
      writer.begin_set(
          {.name = name, .encoder = "genes", .encoder_sha256 = "ee", .geometry = "", .vectors = vectors, .dim = 2});
      for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
        std::vector<float> values;
        for (int v = 0; v < vectors; ++v) values.insert(values.end(), row.begin(), row.end());
        const std::uint8_t valid = i % 2 == 0;
        if (valid == 0) std::ranges::fill(values, 0.0f);
        writer.append(values, {&valid, 1});
      }
    };
    write("cls", 1, {1, 2});
    if (tokens > 0) write("tokens", tokens, {10, 20});
    writer.finish();
  }

  void write_genes(int tokens) { write_genes(tokens, tiles_.slide_sha256); }

  std::vector<float> latents_of(const std::string& folder, std::size_t tile) const {
    const io::LatentReader reader(file(folder));
    std::vector<float> values(4 * 16 * 16);
    reader.read(tile, values);
    return values;
  }
};

TEST_F(SynthesizeStageTest, TheNullLineLeadsToTheTilesMorphology) {
  synthesize();
  const io::LatentReader reader(file("latents"));
  EXPECT_EQ(reader.cells(), tiles_.cells);
  io::LatentStoreInfo info = reader.info();
  EXPECT_EQ(info.made_by["models"]["stmdit"]["name"], "null");
  EXPECT_TRUE(info.made_by["settings"].contains("steps"));
  info.made_by = nlohmann::json::object();
  EXPECT_EQ(info, (io::LatentStoreInfo{
                      .channels = 4, .size = 16, .tile_px = 128, .seed = 7, .slide_sha256 = tiles_.slide_sha256}));
  const io::FeatureReader features(file("features.h5"));
  for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
    std::vector<float> feature;
    std::vector<std::uint8_t> valid;
    features.read("morphology", i, 1, feature, valid);
    const std::vector<float> tile = latents_of("latents", i);
    for (std::size_t k = 0; k < tile.size(); ++k) EXPECT_NEAR(tile[k], feature[k / 256], 2e-3) << i << " " << k;
  }
}

TEST_F(SynthesizeStageTest, RefusesGenesOfAnotherSlide) {
  const SynthesizeStage stage({.steps = 1}, std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{.gene_dim = 2}));
  write_genes(0, std::string(64, 'b'));
  const Error error = error_of([&] { stage.preflight(with_genes()); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("another slide"));
  write_genes(0, "");  // a table of the user's own does not tell
  EXPECT_NO_THROW(stage.preflight(with_genes()));
}

TEST_F(SynthesizeStageTest, StartsFromTheNoiseOfTheTilesPlace) {
  // A velocity of 1 (morphology, no genes) takes 1 off the noise, whatever the number of steps.
  run(SynthesizeStage({.seed = 5, .steps = 3}, std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{})), inputs(),
      output("latents"));
  std::vector<float> noise(4 * 16 * 16);
  for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
    const TileCell cell = tiles_.cells[i];
    models::latent_noise(5, 0, {{cell.column * 8, cell.row * 8}, {16, 16}}, 4, noise);
    const std::vector<float> tile = latents_of("latents", i);
    for (std::size_t k = 0; k < tile.size(); ++k) ASSERT_NEAR(tile[k], noise[k] - 1, 4e-3) << i << " " << k;
  }
}

TEST_F(SynthesizeStageTest, GenesReachTheirTilesAndTokensFollowTheCls) {
  write_genes(2);
  const auto shift = [&](ProbeDenoiser::Shape shape, const pipeline::Bindings& bindings, std::size_t tile) {
    run(SynthesizeStage({.steps = 1, .mode = SynthesisMode::kIndependent},
                        std::make_shared<ProbeDenoiser>(std::move(shape))),
        bindings, output("latents"), "w");
    std::filesystem::remove_all(file("w"));
    const TileCell cell = tiles_.cells[tile];
    std::vector<float> noise(4 * 16 * 16);
    models::latent_noise(0, 0, {{cell.column * 8, cell.row * 8}, {16, 16}}, 4, noise);
    const float first = latents_of("latents", tile)[0];
    std::filesystem::remove_all(file("latents"));
    return std::lround(noise[0] - first);
  };
  EXPECT_EQ(shift({}, with_genes(), 0), 1 + 3);
  EXPECT_EQ(shift({}, with_genes(), 1), 1);
  EXPECT_EQ(shift({}, inputs(), 0), 1);
  EXPECT_EQ(shift({.gene_vectors = 3}, with_genes(), 2), 1 + 3 + 60);
  EXPECT_EQ(shift({.gene_dim = 0}, with_genes(), 0), 1);
}

TEST_F(SynthesizeStageTest, BytesDoNotDependOnScheduling) {
  const SynthesizeStage stage({.seed = 9, .steps = 4, .chunk_tiles = 2}, models::make_null_denoiser());
  for (const int in_flight : {1, 3, 8}) {
    const std::string n = std::to_string(in_flight);
    run_with(stage, inputs(), output("latents" + n), "work" + n, in_flight);
    EXPECT_EQ(folder_bytes(file("latents" + n)), folder_bytes(file("latents1")));
  }
  const SynthesizeStage small({.seed = 9, .steps = 4, .chunk_tiles = 1},
                              std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{.scale = 0.5}));
  run_with(small, inputs(), output("whole"), "work-whole", 2);
  run_interrupted(small, inputs(), output("resumed"), "work-resumed", 2);
  EXPECT_EQ(folder_bytes(file("resumed")), folder_bytes(file("whole")));
}

TEST_F(SynthesizeStageTest, RefusesEmbeddingsOfAnotherEncoder) {
  const SynthesizeStage stage({}, std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{.morphology_sha256 = "0123"}));
  const Error error = error_of([&] { stage.preflight(inputs()); });
  EXPECT_EQ(error.code(), ErrorCode::kModel);
  EXPECT_THAT(error.what(), HasSubstr("was trained with the encoder 0123"));

  write_genes(0);
  const SynthesizeStage genes({}, std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{.gene_sha256 = "4567"}));
  const Error gene_error = error_of([&] { genes.preflight(with_genes()); });
  EXPECT_EQ(gene_error.code(), ErrorCode::kModel);
  EXPECT_THAT(gene_error.what(), HasSubstr("set \"cls\" was made by genes (ee)"));
  SynthesizeStage({}, std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{.gene_sha256 = "ee"}))
      .preflight(with_genes());

  const SynthesizeStage wide({}, std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{.gene_dim = 5}));
  EXPECT_THAT(error_of([&] { wide.preflight(with_genes()); }).what(),
              HasSubstr("has 1 x 2 values a tile, but probe takes 1 x 5"));
}

TEST_F(SynthesizeStageTest, RefusesStoresOfDifferentTiles) {
  tiles_.cells.pop_back();
  write_genes(0);
  const SynthesizeStage stage({}, std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{}));
  const Error error = error_of([&] { stage.preflight(with_genes()); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("not the same ones"));
}

TEST_F(SynthesizeStageTest, RefusesOptionsThatDoNotFitTheModel) {
  const auto velocity = std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{});
  const auto epsilon = std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{.velocity = false});
  EXPECT_EQ(SynthesizeStage({}, velocity).identity()["sampler"], "flow");
  EXPECT_EQ(SynthesizeStage({}, epsilon).identity()["sampler"], "dpmpp");
  EXPECT_THAT(error_of([&] { SynthesizeStage({.sampler = "dpmpp"}, velocity); }).what(),
              HasSubstr("predicts velocity: use auto, flow or flow_heun"));
  EXPECT_EQ(error_of([&] { SynthesizeStage({.sampler = "flow"}, epsilon); }).code(), ErrorCode::kUsage);
  const Error error = error_of([&] { SynthesizeStage({.tile_px = 256}, velocity); });
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_THAT(error.what(), HasSubstr("which is 128 px"));
}

TEST_F(SynthesizeStageTest, EverySamplerRunsAndIsPartOfTheIdentity) {
  const auto velocity = std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{});
  const auto epsilon = std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{.velocity = false, .variance = true});
  std::set<std::string> results;
  std::set<std::string> identities;
  for (const std::string_view name : models::sampler_names()) {
    const bool flow = models::make_sampler({.name = std::string(name)}).predicts_velocity();
    SynthesizeOptions options{.seed = 3, .steps = 3, .sampler = std::string(name)};
    options.guidance.form = models::Guidance::Form::kOrdinary;
    const SynthesizeStage stage(options, flow ? velocity : epsilon);
    identities.insert(stage.identity().dump());
    const std::string folder = "latents-" + std::string(name);
    run(stage, inputs(), output(folder), "work-" + std::string(name));
    results.insert(folder_bytes(file(folder)));
  }
  EXPECT_EQ(identities.size(), models::sampler_names().size());
  // The probe's velocity does not change along a step, so that both flow samplers end at the same place.
  EXPECT_GE(results.size(), models::sampler_names().size() - 1);
}

TEST_F(SynthesizeStageTest, AncestralNoiseDependsOnThePlaceAlone) {
  const auto denoiser = std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{.velocity = false, .variance = true});
  const SynthesizeOptions options{.seed = 3, .steps = 3, .sampler = "iddpm", .chunk_tiles = 2};
  SynthesizeOptions other = options;
  other.chunk_tiles = 6;
  run(SynthesizeStage(options, denoiser), inputs(), output("small"), "w1");
  run(SynthesizeStage(other, denoiser), inputs(), output("large"), "w2");
  EXPECT_EQ(folder_bytes(file("small")), folder_bytes(file("large")));
  const SynthesizeOptions again{.seed = 4, .steps = 3, .sampler = "iddpm"};
  run(SynthesizeStage(again, denoiser), inputs(), output("seed"), "w3");
  EXPECT_NE(folder_bytes(file("small")), folder_bytes(file("seed")));
}

TEST_F(SynthesizeStageTest, RefusesASamplerWhoseVarianceIsNotPredicted) {
  const auto denoiser = std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{.velocity = false});
  const Error error = error_of([&] { SynthesizeStage({.sampler = "iddpm"}, denoiser); });
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_THAT(error.what(), HasSubstr("predicts no variance"));
  EXPECT_THAT(
      error_of([&] { SynthesizeStage({.sampler = "dpmpp", .spacing = models::Spacing::kUniform}, denoiser); }).what(),
      HasSubstr("spacing \"uniform\""));
}

TEST_F(SynthesizeStageTest, NumbersThatNoLatentCanBeAreNotStored) {
  const SynthesizeStage stage({.steps = 8}, std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{.scale = -1e9f}));
  const Error error = error_of([&] { run(stage, inputs(), output("latents")); });
  EXPECT_EQ(error.code(), ErrorCode::kModel);
  EXPECT_THAT(error.what(), HasSubstr("which no latent can be"));
  EXPECT_FALSE(std::filesystem::exists(file("latents") / "index.json"));
}

TEST(SynthesizeConfigTest, DefaultsAndModes) {
  pipeline::ConfigSchema schema;
  schema.add(synthesize_config_keys());
  pipeline::Config config = pipeline::Config::defaults(schema);
  const SynthesizeOptions options = synthesize_options(config);
  EXPECT_EQ(options.steps, 20);
  EXPECT_FLOAT_EQ(options.guidance.morphology, 2.0f);
  EXPECT_FLOAT_EQ(options.guidance.gene, 1.0f);
  EXPECT_EQ(options.mode, SynthesisMode::kShifted);
  const Error error = error_of([&] { config.set("synthesize.mode=shuffled"); });
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_THAT(error.what(), HasSubstr("shifted, overlap, independent"));
  EXPECT_EQ(options.spacing, models::Spacing::kAuto);
  EXPECT_DOUBLE_EQ(options.shift, 1.0);
  config.set("synthesize.spacing=trailing");
  config.set("synthesize.shift=3");
  config.set("synthesize.guidance_gene_low=0.25");
  EXPECT_EQ(synthesize_options(config).spacing, models::Spacing::kTrailing);
  EXPECT_DOUBLE_EQ(synthesize_options(config).shift, 3.0);
  EXPECT_FLOAT_EQ(synthesize_options(config).guidance.gene_interval.low, 0.25f);
  config.set("synthesize.guidance_form=expression_only");
  EXPECT_EQ(synthesize_options(config).guidance.form, models::Guidance::Form::kExpressionOnly);
  config.set("synthesize.guidance_form=gene_first");
  EXPECT_EQ(synthesize_options(config).guidance.form, models::Guidance::Form::kGeneFirst);
}

}  // namespace
}  // namespace vtissue::stages
