#include "stages/synthesize/canvas_synthesis.h"

#include <gmock/gmock.h>

#include <cmath>
#include <random>

#include "io/latent_store.h"
#include "tests/stages/mixing_denoiser.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::HasSubstr;

class CanvasSynthesisTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(7, 5);
    embed();
  }
  pipeline::Bindings inputs() const { return {{"features", file("features.h5")}}; }
  pipeline::Bindings output(const std::string& name) const { return {{"latents", file(name)}}; }

  static SynthesizeOptions options(SynthesisMode mode, const std::string& sampler = "auto") {
    SynthesizeOptions options{.seed = 9, .steps = 5, .sampler = sampler};
    options.mode = mode;
    options.chunk_tiles = 4;
    options.glass = {0.5f, -0.25f, 1.0f, 0.0f};
    return options;
  }

  std::vector<float> all_latents(const std::string& folder) const {
    const io::LatentReader reader(file(folder));
    std::vector<float> all;
    for (std::size_t tile = 0; tile < tiles_.cells.size(); ++tile) {
      std::vector<float> values(4 * 16 * 16);
      reader.read(tile, values);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }
};

// What a network makes of each latent by itself does not depend on where the windows lie, so all modes must agree.
TEST_F(CanvasSynthesisTest, ElementwiseNetworksGiveTheSameInAllModes) {
  for (const std::string sampler : {"dpmpp", "ddim", "iddpm", "dpmpp_heun", "flow", "flow_heun"}) {
    const bool flow = sampler.starts_with("flow");
    const auto denoiser = std::make_shared<ProbeDenoiser>(
        ProbeDenoiser::Shape{.velocity = flow, .variance = !flow, .gene_dim = 0, .scale = 0.3f});
    for (const auto mode : {SynthesisMode::kIndependent, SynthesisMode::kShifted, SynthesisMode::kOverlap}) {
      const std::string name = sampler + std::string(to_string(mode));
      run(SynthesizeStage(options(mode, sampler), denoiser), inputs(), output(name), "work-" + name);
    }
    const std::vector<float> alone = all_latents(sampler + "independent");
    for (const char* mode : {"shifted", "overlap"}) {
      const std::vector<float> windows = all_latents(sampler + mode);
      for (std::size_t k = 0; k < alone.size(); ++k) {
        ASSERT_NEAR(windows[k], alone[k], 2e-3 * (1 + std::abs(alone[k]))) << sampler << " " << mode << " " << k;
      }
    }
  }
}

TEST_F(CanvasSynthesisTest, WindowsOnTheTilesAreTheIndependentTilesBitForBit) {
  const auto denoiser = std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.gene_dim = 0, .scale = 0.2f});
  run(SynthesizeStage(options(SynthesisMode::kIndependent), denoiser), inputs(), output("stage"));
  const models::Sampler sampler = models::make_sampler({.name = "flow", .steps = 5});
  const ConditionSource conditions(file("features.h5"), std::nullopt, denoiser);
  CanvasSynthesis canvas(*denoiser, sampler, conditions,
                         {.windows = {.mode = SynthesisMode::kIndependent, .steps = 5}, .seed = 9, .chunk = 4});
  SilentProgress progress;
  pipeline::RunContext ctx("synthesize", pipeline::ChunkStore(file("canvas")), {}, progress, {});
  canvas.run(ctx);
  const std::vector<float> stage = all_latents("stage");
  for (std::size_t tile = 0; tile < tiles_.cells.size(); ++tile) {
    std::vector<float> values(4 * 16 * 16);
    canvas.read(tile, values);
    for (std::size_t k = 0; k < values.size(); ++k) {
      ASSERT_NEAR(values[k], stage[tile * values.size() + k], 1e-3 * (1 + std::abs(values[k])));  // stored as float16
    }
  }
}

TEST_F(CanvasSynthesisTest, BytesDoNotDependOnSchedulingChunksOrWhereTheCanvasLies) {
  const auto denoiser = std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.gene_dim = 0, .scale = 0.2f});
  for (const auto mode : {SynthesisMode::kShifted, SynthesisMode::kOverlap}) {
    const std::string name(to_string(mode));
    run_with(SynthesizeStage(options(mode), denoiser), inputs(), output(name), "work" + name, 1);
    const std::string expected = folder_bytes(file(name));
    for (const int in_flight : {3, 8}) {
      const std::string other = name + std::to_string(in_flight);
      run_with(SynthesizeStage(options(mode), denoiser), inputs(), output(other), "work" + other, in_flight);
      EXPECT_EQ(folder_bytes(file(other)), expected);
    }
    SynthesizeOptions changed = options(mode);
    changed.chunk_tiles = 14;
    changed.canvas_bytes = 0;  // mapped from a file
    run_with(SynthesizeStage(changed, denoiser), inputs(), output(name + "-file"), "work-file" + name, 2);
    EXPECT_EQ(folder_bytes(file(name + "-file")), expected);
  }
}

TEST_F(CanvasSynthesisTest, AnInterruptedRunGoesOnToTheSameBytesAndComputesNothingTwice) {
  for (const auto mode : {SynthesisMode::kShifted, SynthesisMode::kOverlap}) {
    const std::string name(to_string(mode));
    const auto whole = std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.gene_dim = 0, .scale = 0.2f});
    const SynthesizeStage stage(options(mode), whole);
    run_with(stage, inputs(), output(name), "work" + name, 2);
    const int windows = whole->windows_seen();
    std::mt19937 random(4);
    for (int trial = 0; trial < 8; ++trial) {
      const std::string other = name + "-" + std::to_string(trial);
      const auto denoiser = std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.gene_dim = 0, .scale = 0.2f});
      const auto after = static_cast<std::int64_t>(random() % static_cast<unsigned>(windows - 20));
      run_interrupted(SynthesizeStage(options(mode), denoiser), inputs(), output(other), "work" + other, after);
      EXPECT_EQ(folder_bytes(file(other)), folder_bytes(file(name))) << after;
      EXPECT_LE(denoiser->windows_seen(), windows + 2 * 4) << after;  // at most what was in flight
    }
  }
}

TEST_F(CanvasSynthesisTest, ATornPartIsComputedAgain) {
  const auto denoiser = std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.gene_dim = 0, .scale = 0.2f});
  const SynthesizeStage stage(options(SynthesisMode::kShifted), denoiser);
  run_with(stage, inputs(), output("whole"), "work", 2);
  for (const int damaged_part : {0, 1, 2, 3}) {
    const std::string name = "torn" + std::to_string(damaged_part);
    StopAfter progress(30);
    pipeline::RunContext ctx("synthesize", pipeline::ChunkStore(file(name + "-work")), {.threads = 1, .in_flight = 1},
                             progress, progress.token());
    EXPECT_THROW(stage.run(inputs(), output(name), ctx), Error);
    std::vector<std::filesystem::path> parts;
    for (const auto& entry : std::filesystem::directory_iterator(file(name + "-work"))) parts.push_back(entry.path());
    std::ranges::sort(parts);
    ASSERT_GT(parts.size(), 4u);
    const auto& torn = parts[parts.size() - 1 - static_cast<std::size_t>(damaged_part)];
    std::filesystem::resize_file(torn, std::filesystem::file_size(torn) - 100);
    run_with(stage, inputs(), output(name), name + "-work", 2);
    EXPECT_EQ(folder_bytes(file(name)), folder_bytes(file("whole"))) << torn;
  }
}

TEST_F(CanvasSynthesisTest, PartsOfOldStepsAreRemoved) {
  const auto denoiser = std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.gene_dim = 0});
  SynthesizeOptions many = options(SynthesisMode::kShifted);
  many.steps = 12;
  run_with(SynthesizeStage(many, denoiser), inputs(), output("latents"), "work", 2);
  const auto parts = std::distance(std::filesystem::directory_iterator(file("work")), {});
  const auto windows = static_cast<std::ptrdiff_t>(tiles_.cells.size());
  EXPECT_LT(parts, 4 * 4 * windows / 4);  // the states of two steps and the predictions between, of 14 passes
}

TEST_F(CanvasSynthesisTest, APieceOfTissueDoesNotDependOnTheOthers) {
  // Tiles (0, 0) alone and a slide that has it beside others a tile further off.
  const auto denoiser = std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.gene_dim = 0, .scale = 0.2f});
  const auto latents_of = [&](const std::vector<TileCell>& cells, const std::string& name) {
    tiles_.cells = cells;
    tiles_.tissue_fraction.assign(cells.size(), 1.0f);
    io::write_tiles(file("tiles.h5"), tiles_);
    std::filesystem::remove_all(file("embed"));
    embed();
    run(SynthesizeStage(options(SynthesisMode::kShifted), denoiser), inputs(), output(name), "work-" + name);
    std::vector<float> values(4 * 16 * 16);
    io::LatentReader(file(name)).read(0, values);
    return values;
  };
  EXPECT_EQ(latents_of({{0, 0}}, "one"), latents_of({{0, 0}, {4, 0}, {0, 4}, {2, 4}, {6, 6}}, "many"));
}

TEST_F(CanvasSynthesisTest, NumbersThatNoLatentCanBeAreNotStored) {
  const auto denoiser = std::make_shared<ProbeDenoiser>(ProbeDenoiser::Shape{.gene_dim = 0, .scale = -1e9f});
  const Error error =
      error_of([&] { run(SynthesizeStage(options(SynthesisMode::kShifted), denoiser), inputs(), output("latents")); });
  EXPECT_EQ(error.code(), ErrorCode::kModel);
  EXPECT_THAT(error.what(), HasSubstr("which no latent can be"));
  EXPECT_FALSE(std::filesystem::exists(file("latents") / "index.json"));
}

}  // namespace
}  // namespace vtissue::stages
