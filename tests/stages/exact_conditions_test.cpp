#include "stages/synthesize/exact_conditions.h"

#include <gmock/gmock.h>

#include "io/feature_store.h"
#include "io/latent_store.h"
#include "io/slide_reader.h"
#include "stages/synthesize/lattice_stage.h"
#include "stages/synthesize/synthesize_config.h"
#include "tests/stages/mixing_denoiser.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::HasSubstr;

TEST(Lattices, AreTheOffsetsOfTheStepsAndOfBlendedStepsFour) {
  const models::Sampler sampler = models::make_sampler({.name = "flow", .steps = 4});
  const auto of = [&](WindowOptions options) {
    return window_lattices(WindowLayout({}, 16, options), sampler.evaluations());
  };
  EXPECT_TRUE(of({.mode = SynthesisMode::kIndependent, .steps = 4}).empty());
  EXPECT_EQ(of({.mode = SynthesisMode::kOverlap, .steps = 4}), (std::vector<Point<Latent>>{{8, 0}, {0, 8}, {8, 8}}));
  const auto shifted = of({.steps = 4, .blended_steps = 1});
  EXPECT_GE(shifted.size(), 6u);
  EXPECT_LE(shifted.size(), 3u + 4u);
}

TEST(Lattices, SquaresMeetTheTiles) {
  io::TileSet tiles;
  tiles.tile_px = 128;
  tiles.target_size = {512, 512};
  tiles.cells = {{2, 2}};
  tiles.tissue_fraction = {0.5f};
  const io::TileSet lattice = tiles_on_lattice(tiles, {32, 0});
  EXPECT_EQ(lattice.cells, (std::vector<TileCell>{{2, 2}, {4, 2}}));
  EXPECT_EQ(lattice.origin({2, 2}), (Point<TargetPx>{32, 128}));  // 32 px of it on the tile
  EXPECT_EQ(lattice.origin({4, 2}), (Point<TargetPx>{160, 128}));
  EXPECT_FLOAT_EQ(lattice.tissue_fraction[0], 0.5f * 32 / 128);
  EXPECT_FLOAT_EQ(lattice.tissue_fraction[1], 0.5f * 96 / 128);
  EXPECT_EQ(tiles_on_lattice(tiles, {32, 64}).cells.size(), 4u);
  EXPECT_EQ(tiles_on_lattice(tiles, {0, 0}).cells, tiles.cells);
  EXPECT_THROW(tiles_on_lattice(tiles, {128, 0}), Error);
  tiles.cells = {{1, 2}};
  EXPECT_THROW(tiles_on_lattice(tiles, {32, 0}), Error);
}

class ExactConditionsTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(7, 5);
    embed();
  }

  static SynthesizeOptions options() {
    SynthesizeOptions options{.seed = 9, .steps = 3, .exact_conditions = true, .blended_steps = 1};
    options.chunk_tiles = 4;
    return options;
  }
  static std::shared_ptr<MixingDenoiser> denoiser() {
    return std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.gene_dim = 0, .scale = 0.2f});
  }

  /// Stores of every lattice, as the line makes them, and the bindings of a synthesis.
  pipeline::Bindings make_stores(const SynthesizeStage& stage) {
    pipeline::Bindings inputs = {{"features", file("features.h5")}};
    for (const Point<Latent> lattice : stage.lattices()) {
      const std::string name = lattice_name(lattice);
      run(LatticeStage({lattice.x * 8, lattice.y * 8}), {{"tiles", file("tiles.h5")}},
          {{"lattice", file("tiles-" + name)}}, "lattice-" + name);
      run(EmbedStage({}, models::make_null_morphology_encoder()),
          {{"slide", file("slide.tif")}, {"tiles", file("tiles-" + name)}}, {{"features", file("features-" + name)}},
          "embed-" + name);
      inputs[lattice_ports(lattice).first] = file("features-" + name);
    }
    return inputs;
  }
};

TEST_F(ExactConditionsTest, AWindowHasTheEmbeddingOfItsOwnSquareOfTheSlide) {
  const SynthesizeStage stage(options(), denoiser());
  const pipeline::Bindings inputs = make_stores(stage);
  const ConditionSource tiles(file("features.h5"), std::nullopt, denoiser());
  const std::vector<Point<Latent>> lattices = stage.lattices();
  const ExactConditions exact(inputs, lattices, false, tiles.slide_sha256(), 8, denoiser());
  const auto encoder = models::make_null_morphology_encoder();
  const auto slide = io::SlideReader::open(file("slide.tif"), {.mpp = kMpp});
  for (const Point<Latent> lattice : lattices) {
    // Over the tile (2, 0).
    const Point<Latent> window{16 + (lattice.x == 0 ? 0 : lattice.x - 16), lattice.y};
    const ConditionRows row = exact.read(tiles, {&window, 1});
    std::vector<std::uint8_t> rgb(128 * 128 * 3);
    slide->read(0, {window.x * 8, window.y * 8}, {128, 128}, rgb);
    std::vector<float> expected(8);
    encoder->encode(rgb, 1, 128, expected);
    EXPECT_EQ(row.morphology, expected) << lattice_name(lattice);
    EXPECT_EQ(row.has_morphology, std::vector<std::uint8_t>{1});
  }
}

TEST_F(ExactConditionsTest, OnATileItIsTheTilesOwnBitForBit) {
  const SynthesizeStage stage(options(), denoiser());
  const ConditionSource tiles(file("features.h5"), std::nullopt, denoiser());
  const ExactConditions exact(make_stores(stage), stage.lattices(), false, tiles.slide_sha256(), 8, denoiser());
  for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
    const Point<Latent> window = latent_origin(tiles_.cells[i], 16);
    EXPECT_EQ(exact.read(tiles, {&window, 1}).morphology, tiles.read(i, 1).morphology);
  }
}

TEST_F(ExactConditionsTest, EveryWindowOfARunHasConditionsAndInterruptionsChangeNothing) {
  for (const auto mode : {SynthesisMode::kShifted, SynthesisMode::kOverlap}) {
    SynthesizeOptions exact = options();
    exact.mode = mode;
    const std::string name(to_string(mode));
    const SynthesizeStage stage(exact, denoiser());
    const pipeline::Bindings inputs = make_stores(stage);
    stage.preflight(inputs);
    run_with(stage, inputs, {{"latents", file(name)}}, "work-" + name, 2);
    EXPECT_EQ(io::LatentReader(file(name)).info().made_by["settings"]["conditions"], "exact");
    run_interrupted(stage, inputs, {{"latents", file(name + "-again")}}, "work-again-" + name, 30);
    EXPECT_EQ(folder_bytes(file(name + "-again")), folder_bytes(file(name)));
    exact.exact_conditions = false;
    run_with(SynthesizeStage(exact, denoiser()), {{"features", file("features.h5")}},
             {{"latents", file(name + "-mean")}}, "work-mean-" + name, 2);
    EXPECT_NE(folder_bytes(file(name + "-mean")), folder_bytes(file(name)));
  }
}

TEST_F(ExactConditionsTest, WrongOrMissingStoresAreNamed) {
  const SynthesizeStage stage(options(), denoiser());
  pipeline::Bindings inputs = make_stores(stage);
  const auto ports = stage.inputs();
  const std::string one = ports[2].name, other = ports[4].name;
  std::swap(inputs[one], inputs[other]);
  const Error swapped = error_of([&] { stage.preflight(inputs); });
  EXPECT_EQ(swapped.code(), ErrorCode::kBadInput);
  EXPECT_THAT(swapped.what(), HasSubstr("not of the lattice"));
  inputs.erase(one);
  const Error missing = error_of([&] { run(stage, inputs, {{"latents", file("latents")}}); });
  EXPECT_EQ(missing.code(), ErrorCode::kUsage);
  EXPECT_THAT(missing.what(), HasSubstr("synthesize.conditions is exact, but features of the windows' lattice"));
}

TEST_F(ExactConditionsTest, WithoutThemNothingOfTheStageChanges) {
  SynthesizeOptions interpolated = options();
  interpolated.exact_conditions = false;
  const SynthesizeStage stage(interpolated, denoiser());
  EXPECT_EQ(stage.inputs().size(), 2u);
  EXPECT_FALSE(stage.identity().contains("conditions"));
  SynthesizeOptions alone = options();
  alone.mode = SynthesisMode::kIndependent;
  EXPECT_TRUE(SynthesizeStage(alone, denoiser()).lattices().empty());
}

}  // namespace
}  // namespace vtissue::stages
