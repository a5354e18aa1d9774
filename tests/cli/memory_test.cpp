// Memory does not grow with the slide.

#include "line_fixture.h"

namespace vtissue::testing {
namespace {

constexpr std::int64_t kSide = 40'000;
constexpr std::int64_t kGiB = std::int64_t{1} << 30;

/// A slide of kSide x kSide pixels: one tissue-like block repeated.
void write_large_slide(const std::filesystem::path& path) {
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
  write_large_slide(work / "large.svs");
  const ProgramResult result = run_program(
      {"run", std::string(VTISSUE_SOURCE_DIR) + "/configs/null.yaml", "--slide", (work / "large.svs").string(), "--out",
       (work / "out").string(), "--progress", "off", "--set", "evaluate.max_tiles=500", "--set", "synthesize.steps=2",
       "--set", "synthesize.chunk_tiles=256", "--set", "embed.chunk_tiles=256"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  RecordProperty("peak_anonymous_mib", static_cast<int>(result.peak_anonymous_bytes >> 20));
  EXPECT_LT(result.peak_anonymous_bytes, kGiB);
}

}  // namespace
}  // namespace vtissue::testing
