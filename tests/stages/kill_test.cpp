// A synthesis that is killed again and again ends in the bytes of one that was not, and computes nothing twice but what
// was in flight.

#include <fcntl.h>

#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/pipeline/child_process.h"
#include "tests/stages/mixing_denoiser.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using pipeline::testing::ChildProcess;

constexpr int kChunk = 4, kInFlight = 2;

/// Adds a byte to a file for each window that it has evaluated: a count that survives the process. Takes its time.
class CountingDenoiser : public MixingDenoiser {
 public:
  explicit CountingDenoiser(const std::string& file)
      : MixingDenoiser(Shape{.gene_dim = 0, .scale = 0.2f}),
        descriptor_(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {}
  ~CountingDenoiser() override { ::close(descriptor_); }
  void predict(std::span<const float> x, int n, double t, const models::TileConditions& conditions,
               const models::Guidance& guidance, std::span<float> out, std::span<float> variance) const override {
    MixingDenoiser::predict(x, n, t, conditions, guidance, out, variance);
    const std::string bytes(static_cast<std::size_t>(n), '.');
    EXPECT_EQ(::write(descriptor_, bytes.data(), bytes.size()), n);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }

 private:
  int descriptor_;
};

SynthesizeStage shifted_stage(const std::string& count) {
  SynthesizeOptions options{.seed = 9, .steps = 6};
  options.chunk_tiles = kChunk;
  return SynthesizeStage(options, std::make_shared<CountingDenoiser>(count));
}

class KillTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(9, 7);
    embed();
  }
};

TEST_F(KillTest, DISABLED_Child) {
  const std::filesystem::path folder = std::getenv("VTISSUE_KILL_FOLDER");
  SilentProgress progress;
  pipeline::RunContext ctx("synthesize", pipeline::ChunkStore(folder / "work"), {.threads = 2, .in_flight = kInFlight},
                           progress, {});
  shifted_stage((folder / "count").string())
      .run({{"features", folder / "features.h5"}}, {{"latents", folder / "latents"}}, ctx);
}

TEST_F(KillTest, TwentyKillsEndInTheSameBytesAndNothingIsComputedTwice) {
  const auto started = std::chrono::steady_clock::now();
  run_with(shifted_stage(file("whole-count").string()), {{"features", file("features.h5")}},
           {{"latents", file("whole")}}, "whole-work", kInFlight);
  const auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - started);
  const auto windows = std::filesystem::file_size(file("whole-count"));
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);

  const std::map<std::string, std::string> environment = {{"VTISSUE_KILL_FOLDER", folder_.string()}};
  const std::string child_test = "KillTest.DISABLED_Child";
  const auto count = [&] {
    std::error_code none;
    const auto size = std::filesystem::file_size(file("count"), none);
    return none ? 0 : size;
  };
  int kills = 0;
  while (kills < 20) {
    const auto before = count();
    ChildProcess child(child_test, environment);
    // The moment counts from when it computes, a twentieth of the whole each time and a little more.
    while (child.running() && count() == before) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const std::chrono::milliseconds moment(
        std::uniform_int_distribution<int>(0, static_cast<int>(whole.count() / 18))(random));
    std::this_thread::sleep_for(moment);
    if (!child.running()) break;  // done before the twentieth
    child.send(SIGKILL);
    if (child.wait() == 128 + SIGKILL) ++kills;
  }
  EXPECT_GE(kills, 10);
  EXPECT_EQ(ChildProcess(child_test, environment).wait(), 0);
  EXPECT_EQ(folder_bytes(file("latents")), folder_bytes(file("whole")));
  EXPECT_LE(count(), windows + static_cast<std::size_t>(kills * kInFlight * kChunk));
  RecordProperty("kills", kills);
  RecordProperty("windows_computed_again", static_cast<int>(count() - windows));
}

}  // namespace
}  // namespace vtissue::stages
