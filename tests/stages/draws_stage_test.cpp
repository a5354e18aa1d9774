#include "stages/draws/draws_stage.h"

#include <gmock/gmock.h>

#include "io/feature_store.h"
#include "models/null_engines.h"
#include "tests/stages/mixing_denoiser.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;

TEST(CompareDraws, VarianceIsOverTheDrawsAlone) {
  // Two draws of two pixels: the pixels differ from each other, the draws in one channel of one.
  const std::vector<std::uint8_t> rgb = {10, 20, 30, 90, 80, 70, 14, 20, 30, 90, 80, 70};
  const std::vector<float> embeddings = {1, 0, 0, 1};
  std::vector<float> mean, variance;
  const DrawFigures figures = compare_draws(rgb, embeddings, 2, mean, variance);
  EXPECT_DOUBLE_EQ(figures.pixel_variance, 8.0 / 6);  // 10 and 14 have variance 8, the other five values none
  EXPECT_DOUBLE_EQ(figures.mean[0], (10 + 90 + 14 + 90) / 4.0);
  EXPECT_THAT(mean, ElementsAre(0.5f, 0.5f));
  EXPECT_THAT(variance, ElementsAre(0.5f, 0.5f));
  EXPECT_NEAR(figures.embedding_distance, 1 - std::sqrt(0.5), 1e-7);
}

class DrawsStageTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(6, 5);
    embed();
    const auto denoiser = std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.gene_dim = 0, .scale = 0.2f});
    for (const std::uint64_t seed : {3u, 4u, 5u}) {
      SynthesizeOptions options{.seed = seed, .steps = 3, .mode = SynthesisMode::kIndependent};
      run(SynthesizeStage(options, denoiser), {{"features", file("features.h5")}},
          {{"latents", file("d" + std::to_string(seed))}}, "w" + std::to_string(seed));
    }
  }
  pipeline::Bindings inputs() const {
    return {{"tiles", file("tiles.h5")}, {"draw_00", file("d3")}, {"draw_01", file("d4")}, {"draw_02", file("d5")}};
  }
  pipeline::Bindings outputs(const std::string& tag) const {
    return {{"table", file(tag + ".tsv")},
            {"embeddings", file(tag + ".h5")},
            {"pixel_map", file(tag + ".png")},
            {"embedding_map", file(tag + "e.png")}};
  }
  DrawsStage stage(std::vector<std::uint64_t> seeds = {3, 4, 5}) const {
    return DrawsStage({.seeds = std::move(seeds)}, models::make_null_autoencoder(),
                      models::make_null_morphology_encoder());
  }
};

TEST_F(DrawsStageTest, EveryTileHasItsRowAndDrawsDiffer) {
  const Outcome outcome = run(stage(), inputs(), outputs("a"), "draws");
  EXPECT_EQ(outcome.reported["tiles"], tiles_.cells.size());
  EXPECT_GT(outcome.reported["pixel_deviation"].get<double>(), 0);
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(read_bytes(file("a.tsv")), '\n')), tiles_.cells.size() + 1);
  const io::FeatureReader store(file("a.h5"));
  EXPECT_EQ(store.cells(), tiles_.cells);
  EXPECT_EQ(store.info("mean").dim, 8);
  EXPECT_EQ(store.info("variance").dim, 8);
}

TEST_F(DrawsStageTest, DrawsOfOneSeedDoNotDiffer) {
  pipeline::Bindings same = inputs();
  same["draw_01"] = same["draw_02"] = file("d3");
  const Outcome outcome = run(stage({3, 3, 3}), same, outputs("b"), "draws");
  EXPECT_EQ(outcome.reported["pixel_deviation"], 0);
  EXPECT_NEAR(outcome.reported["embedding_distance"].get<double>(), 0, 1e-6);
}

TEST_F(DrawsStageTest, ADrawOfAnotherSeedOrFewerThanTwoAreRefused) {
  EXPECT_THROW(run(stage({3, 4, 6}), inputs(), outputs("c"), "draws"), Error);
  EXPECT_THROW(stage({3}), Error);
}

}  // namespace
}  // namespace vtissue::stages
