// `vtissue view` as its user starts it.

#include "line_fixture.h"

namespace vtissue::testing {
namespace {

using ::testing::HasSubstr;

class ViewTest : public LineTest {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(std::string(VTISSUE_BINARY_DIR) + "/share/vtissue/viewer/openseadragon.min.js"))
      GTEST_SKIP() << "the page was built without OpenSeadragon (tools/get-openseadragon.sh)";
    const ProgramResult made = run_program(arguments(work_ / "out"));
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
};

TEST_F(ViewTest, ServesARunUntilItIsInterrupted) {
  const std::string out = (work_ / "out").string(), said = (work_ / "said").string();
  const std::string serve =
      std::string(VTISSUE_BINARY_DIR) + "/vtissue view " + out + " > " + said + " 2> /dev/null & ";
  const std::string until_it_serves =
      "i=0; while [ ! -s " + said + " ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done; ";
  const ProgramResult result =
      run_shell("{ " + serve + until_it_serves + "kill -TERM $!; wait $!; echo \"ended with $?\"; cat " + said + "; }");
  EXPECT_THAT(result.out, ::testing::MatchesRegex("ended with 0\nhttp://127\\.0\\.0\\.1:[0-9]+/\n"));
}

TEST_F(ViewTest, ExportsARunWithItsRealSlide) {
  const std::filesystem::path site = work_ / "site";
  // A slide made a moment ago is not remembered yet (core/file_digests.h): it is looked up by its name.
  const ProgramResult result = run_program(
      {"view", (work_ / "out").string(), "--slides", slide().parent_path().string(), "--export", site.string()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, site.string() + "\n");
  EXPECT_THAT(result.err, HasSubstr("confidential"));
  EXPECT_TRUE(std::filesystem::exists(site / "index.html"));
  bool has_real = false;
  for (const std::string& name : listing(site)) has_real = has_real || name.ends_with("/real/0/0_0.jpg");
  EXPECT_TRUE(has_real);
  EXPECT_EQ(run_program({"view", (work_ / "out").string(), "--export", (work_ / "out").string()}).exit_code, 2);
}

TEST_F(ViewTest, WhatCannotBeShownIsSaid) {
  EXPECT_EQ(run_program({"view", (work_ / "none").string()}).exit_code, 3);
  const ProgramResult bind = run_program({"view", (work_ / "out").string(), "--bind", "example.org"});
  EXPECT_EQ(bind.exit_code, 2);
  EXPECT_THAT(bind.err, HasSubstr("not an IP address"));
}

}  // namespace
}  // namespace vtissue::testing
