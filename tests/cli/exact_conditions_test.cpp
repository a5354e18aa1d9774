// Exact conditions: the line and the subcommands, whole and in shards.

#include "line_fixture.h"

namespace vtissue::testing {
namespace {

using ::testing::HasSubstr;

class ExactConditionsCommandTest : public LineTest {
 protected:
  static std::vector<std::string> exact(std::vector<std::string> command) {
    command.insert(command.end(), {"--set", "synthesize.conditions=exact", "--set", "synthesize.steps=3", "--set",
                                   "synthesize.blended_steps=1"});
    return command;
  }
};

TEST_F(ExactConditionsCommandTest, TheSubcommandGivesTheBytesOfTheLine) {
  const auto line = work_ / "line";
  const ProgramResult whole = run_program(exact(arguments(line)));
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_THAT(run_program(exact(arguments(line))).err, HasSubstr("nothing to do"));
  const auto latents = work_ / "latents";
  const ProgramResult alone = run_program(exact(
      {"synthesize", "--config", null_config(), "--progress", "off", "--features", (line / "features.h5").string(),
       "--genes", (line / "genes.h5").string(), "--windows", (line / "windows").string(), "--out", latents.string()}));
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  EXPECT_EQ(sha256_file(latents / "index.json"), sha256_file(line / "latents" / "index.json"));
  const ProgramResult without =
      run_program(exact({"synthesize", "--config", null_config(), "--features", (line / "features.h5").string(),
                         "--out", (work_ / "none").string()}));
  EXPECT_EQ(without.exit_code, 2);
  EXPECT_THAT(without.err, HasSubstr("features_"));

  std::vector<std::unique_ptr<Program>> programs;
  for (const char* shard : {"1/2", "2/2"}) {
    std::vector<std::string> command = exact(arguments(work_ / "sharded"));
    command.insert(command.end(), {"--shard", shard, "--wait"});
    programs.push_back(std::make_unique<Program>(command));
  }
  for (auto& program : programs) {
    const ProgramResult result = program->wait();
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
  EXPECT_EQ(virtual_sha(work_ / "sharded"), virtual_sha(line));
}

}  // namespace
}  // namespace vtissue::testing
