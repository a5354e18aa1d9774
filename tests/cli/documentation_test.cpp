// What the documentation says is what the program does.

#include "line_fixture.h"

namespace vtissue::testing {
namespace {

using ::testing::HasSubstr;

std::string read_text(const std::string& name) {
  std::ifstream file(std::string(VTISSUE_SOURCE_DIR) + "/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Documentation, ConfigurationReferenceIsGenerated) {
  const ProgramResult result = run_program({"config-reference"});
  ASSERT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, read_text("docs/configuration.md")) << "run: make docs";
}

TEST(Documentation, EverySubcommandHasHelpAndTheStagesHaveAPage) {
  const std::string readme = read_text("README.md");
  for (const std::string stage : {"tile", "embed", "express", "encode", "synthesize", "stitch", "evaluate", "report"}) {
    EXPECT_EQ(run_program({stage, "--help"}).exit_code, 0) << stage;
    EXPECT_THAT(readme, HasSubstr("docs/stages/" + stage + ".md"));
    EXPECT_THAT(read_text("docs/stages/" + stage + ".md"), HasSubstr("vtissue " + stage));
  }
  for (const std::string command : {"perturb", "draws", "audit"}) {
    EXPECT_EQ(run_program({command, "--help"}).exit_code, 0) << command;
    EXPECT_THAT(readme, HasSubstr("docs/stages/" + command + ".md"));
    EXPECT_THAT(read_text("docs/stages/" + command + ".md"), HasSubstr("vtissue " + command));
  }
  for (const std::string command : {"run", "plan", "train", "inspect", "doctor", "view"}) {
    EXPECT_EQ(run_program({command, "--help"}).exit_code, 0) << command;
  }
}

TEST(Documentation, VersionIsOneLine) {
  EXPECT_THAT(run_program({"--version"}).out, ::testing::MatchesRegex("vtissue [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(Documentation, EveryPipelineConfigurationOfTheTreeIsValid) {
  for (const char* name : {"demo.yaml", "demo-measured.yaml", "expression-only.yaml", "null.yaml"}) {
    const ProgramResult result =
        run_program({"doctor", "--config", std::string(VTISSUE_SOURCE_DIR) + "/configs/" + name});
    EXPECT_EQ(result.exit_code, 0) << name << "\n" << result.out << result.err;
  }
}

}  // namespace
}  // namespace vtissue::testing
