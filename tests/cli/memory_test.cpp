// Memory does not grow with the slide.

#include <nlohmann/json.hpp>
#include <utility>

#include "../support/large_slide.h"
#include "line_fixture.h"

namespace vtissue::testing {
namespace {

constexpr std::int64_t kSide = 40'000;
constexpr std::int64_t kGiB = std::int64_t{1} << 30;

/// A slide of kSide x kSide pixels: one tissue-like block repeated.
void write_repeated_slide(const std::filesystem::path& path) {
  io::PyramidOptions options;
  options.size = {kSide, kSide};
  options.mpp = 0.7;
  const io::RgbImage block = tissue_picture({options.block_px, options.block_px}, options.mpp);
  const io::RgbImage card = constant_picture({64, 64}, 255, 255, 255);
  io::write_pyramid(
      path, options, [&](int bx, int by) { return io::encode_block(options, bx, by, block.rgb); }, card, card);
}

TEST(Memory, ALargeSlideRunsWithinOneGibibyte) {
  TempFolder work;
  write_repeated_slide(work / "large.svs");
  const ProgramResult result = run_program(
      {"run", std::string(VTISSUE_SOURCE_DIR) + "/configs/null.yaml", "--slide", (work / "large.svs").string(), "--out",
       (work / "out").string(), "--progress", "off", "--set", "evaluate.max_tiles=500", "--set", "synthesize.steps=2",
       "--set", "synthesize.chunk_tiles=256", "--set", "embed.chunk_tiles=256"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  RecordProperty("peak_anonymous_mib", static_cast<int>(result.peak_anonymous_bytes >> 20));
  EXPECT_LT(result.peak_anonymous_bytes, kGiB);
}

/// Seconds of each stage that has something to do for every tile, and the number of tiles.
std::pair<double, int> seconds_and_tiles(const TempFolder& work, int blocks) {
  const auto slide = work / ("slide-" + std::to_string(blocks) + ".svs"), out = work / std::to_string(blocks);
  write_large_slide(slide, 12'000, blocks, 0.7);
  const ProgramResult result =
      run_program({"run", std::string(VTISSUE_SOURCE_DIR) + "/configs/null.yaml", "--slide", slide.string(), "--out",
                   out.string(), "--progress", "off", "--set", "synthesize.steps=3", "--set",
                   "synthesize.blended_steps=1", "--set", "evaluate.max_tiles=100"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json record = nlohmann::json::parse(std::ifstream(out / "run.json"));
  double seconds = 0;
  for (const char* stage : {"embed", "express", "encode", "synthesize"}) {
    seconds += record["timing"]["stage_seconds"][stage].get<double>();
  }
  return {seconds, record["stages"][0]["report"]["tiles"].get<int>()};
}

TEST(Memory, TimeIsLinearInTiles) {
  const TempFolder work;
  const auto [few_seconds, few] = seconds_and_tiles(work, 2);
  const auto [many_seconds, many] = seconds_and_tiles(work, 16);
  ASSERT_GT(many, 7 * few);
  // Twice that, since other programs have their say in the time; what grows with the square takes eight times.
  EXPECT_LT(many_seconds, 2 * few_seconds * many / few + 1);
}

}  // namespace
}  // namespace vtissue::testing
