// A slide of 100,000 x 100,000 pixels with 60,000 tiles of tissue; a quarter of an hour.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "../cli/program.h"
#include "../support/large_slide.h"
#include "../support/temp_folder.h"

namespace vtissue::testing {
namespace {

TEST(Scale, SixtyThousandTilesWithinTwoGibibyte) {
  TempFolder work;
  write_large_slide(work / "large.svs", 100'000, 235, 0.7);
  const ProgramResult result =
      run_program({"run", std::string(VTISSUE_SOURCE_DIR) + "/configs/null.yaml", "--slide",
                   (work / "large.svs").string(), "--out", (work / "out").string(), "--progress", "off"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json record = nlohmann::json::parse(std::ifstream(work / "out" / "run.json"));
  EXPECT_GE(record["stages"][0]["report"]["tiles"].get<int>(), 60'000);
  RecordProperty("peak_anonymous_mib", static_cast<int>(result.peak_anonymous_bytes >> 20));
  EXPECT_LT(result.peak_anonymous_bytes, std::int64_t{2} << 30);
}

}  // namespace
}  // namespace vtissue::testing
