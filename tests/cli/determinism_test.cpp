// The virtual slide's bytes do not depend on threads, on what is in flight, or on interruptions.

#include <csignal>
#include <random>
#include <thread>

#include "line_fixture.h"

namespace vtissue::testing {
namespace {

using ::testing::HasSubstr;

class DeterminismTest : public LineTest {};

TEST_F(DeterminismTest, SameBytesForAnyThreadsAndInFlight) {
  ASSERT_EQ(run_program(arguments(work_ / "reference", {"--threads", "1", "--in-flight", "1"})).exit_code, 0);
  const std::string reference = virtual_sha(work_ / "reference");
  // A quarter of the threads reads, encodes and writes: from eight on several do so at once.
  for (const char* threads : {"1", "2", "8", "16"}) {
    for (const char* in_flight : {"1", "3", "8"}) {
      const auto out = work_ / (std::string("out-") + threads + "-" + in_flight);
      const ProgramResult result = run_program(arguments(out, {"--threads", threads, "--in-flight", in_flight}));
      ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(virtual_sha(out), reference) << threads << " threads, " << in_flight << " in flight";
    }
  }
}

TEST_F(DeterminismTest, SameBytesAfterKillAtTwentyRandomMoments) {
  const auto started = std::chrono::steady_clock::now();
  ASSERT_EQ(run_program(slowly(work_ / "undisturbed")).exit_code, 0);
  const auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - started);
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto out = work_ / "killed";
  int killed = 0;
  for (int attempt = 0; killed < 20 && attempt < 200; ++attempt) {
    Program program(slowly(out));
    // The moment counts from when it is at work, not from when the program is still being loaded.
    const bool at_work = is_locked_soon(out, program);
    const std::chrono::milliseconds moment(
        std::uniform_int_distribution<int>(0, static_cast<int>(whole.count() / 4))(random));
    if (!at_work || program.ended_within(moment)) {
      ASSERT_EQ(program.wait().exit_code, 0);
      std::filesystem::remove_all(out);  // finished before its moment: begin anew
      continue;
    }
    program.signal(SIGKILL);
    if (program.wait().exit_code == -1) ++killed;
  }
  EXPECT_EQ(killed, 20);
  const ProgramResult last = run_program(slowly(out));
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_EQ(virtual_sha(out), virtual_sha(work_ / "undisturbed"));
  EXPECT_EQ(sha256_file(out / "features.h5"), sha256_file(work_ / "undisturbed" / "features.h5"));
}

TEST_F(DeterminismTest, AStopRequestEndsAfterTheChunkAndTheSameCommandGoesOn) {
  ASSERT_EQ(run_program(slowly(work_ / "reference")).exit_code, 0);
  Program program(slowly(work_ / "out"));
  ASSERT_TRUE(is_locked_soon(work_ / "out", program));
  program.signal(SIGTERM);
  const ProgramResult stopped = program.wait();
  EXPECT_EQ(stopped.exit_code, 130) << stopped.err;
  const ProgramResult result = run_program(slowly(work_ / "out"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(virtual_sha(work_ / "out"), virtual_sha(work_ / "reference"));
}

TEST_F(DeterminismTest, RunsAtOnceMayShareAWorkFolder) {
  std::vector<std::string> one = slowly(work_ / "one"), two = slowly(work_ / "two");
  for (auto* command : {&one, &two}) command->insert(command->end(), {"--work", (work_ / "work").string()});
  Program first(one);
  ASSERT_TRUE(is_locked_soon(work_ / "one", first));
  const ProgramResult second = run_program(two);
  EXPECT_EQ(second.exit_code, 0) << second.err;
  const ProgramResult rest = first.wait();
  EXPECT_EQ(rest.exit_code, 0) << rest.err;
  EXPECT_EQ(virtual_sha(work_ / "one"), virtual_sha(work_ / "two"));
  EXPECT_EQ(run_program(arguments(work_ / "own", {"--work", (work_ / "own").string()})).exit_code, 0);
}

TEST_F(DeterminismTest, AReaderOfTheMessagesMayGoAway) {
  std::string command = std::string(VTISSUE_BINARY_DIR) + "/vtissue";
  for (const std::string& argument : slowly(work_ / "out")) command += " " + argument;
  const ProgramResult result = run_shell("(" + command + "; echo $? > " + (work_ / "code").string() + ") 2>&1 | true");
  std::ifstream code(work_ / "code");
  int ended = -1;
  code >> ended;
  EXPECT_EQ(ended, 0);
  EXPECT_TRUE(std::filesystem::exists(work_ / "out" / "report.html"));
}

TEST_F(DeterminismTest, WithoutATerminalProgressIsLines) {
  std::vector<std::string> command = arguments(work_ / "out");
  command.erase(command.end() - 2, command.end());  // --progress off
  const ProgramResult text = run_program(command);
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.err, HasSubstr("tile         starts: 1 slide"));
  std::filesystem::remove_all(work_ / "out");
  command.insert(command.end(), {"--log-format", "json"});
  EXPECT_THAT(run_program(command).err, HasSubstr(R"({"event":"start","stage":"tile")"));
}

TEST_F(DeterminismTest, ProvenanceStatesWhatMadeTheLatents) {
  ASSERT_EQ(run_program(arguments(work_ / "line", {"--set", "synthesize.steps=7"})).exit_code, 0);
  const auto at = [&](const char* name) { return (work_ / "line" / name).string(); };
  const auto out = work_ / "again.tiff";
  const ProgramResult result =
      run_program({"stitch", "--config", null_config(), "--latents", at("latents"), "--tiles", at("tiles.h5"),
                   "--expression", at("expression.h5ad"), "--out", out.string()});  // its own steps: 20
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(sha256_file(out), virtual_sha(work_ / "line"));
  const ProgramResult seen = run_program({"inspect", out.string(), "--json"});
  EXPECT_THAT(seen.out, HasSubstr("\"steps\": 7"));
  EXPECT_THAT(seen.out, HasSubstr("\"stmdit\""));
}

TEST_F(DeterminismTest, MaxTimeStopsWithExitCode130) {
  const ProgramResult stopped = run_program(arguments(work_ / "out", {"--max-time", "0.05s"}));
  EXPECT_EQ(stopped.exit_code, 130) << stopped.err;
  const ProgramResult result = run_program(arguments(work_ / "out"));
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_F(DeterminismTest, ASecondRunDoesNothingAndSaysSo) {
  ASSERT_EQ(run_program(arguments(work_ / "out")).exit_code, 0);
  const auto before = std::filesystem::last_write_time(work_ / "out" / "virtual.tiff");
  const ProgramResult again = run_program(arguments(work_ / "out"));
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(again.err, HasSubstr("nothing to do"));
  EXPECT_EQ(std::filesystem::last_write_time(work_ / "out" / "virtual.tiff"), before);
}

TEST_F(DeterminismTest, AChangedParameterRunsOnlyWhatDependsOnIt) {
  ASSERT_EQ(run_program(arguments(work_ / "out")).exit_code, 0);
  const ProgramResult changed = run_program(arguments(work_ / "out", {"--set", "stitch.quality=80"}));
  ASSERT_EQ(changed.exit_code, 0) << changed.err;
  for (const char* stage : {"tile", "embed", "express", "encode", "synthesize"}) {
    EXPECT_THAT(changed.err, HasSubstr(std::string(stage) + ": up to date"));
  }
  EXPECT_THAT(changed.err, HasSubstr("stitch: done"));
  EXPECT_THAT(changed.err, HasSubstr("quality changed 90 → 80"));
}

TEST_F(DeterminismTest, PlanSaysWhatWouldRunAndWritesNothing) {
  std::vector<std::string> plan = arguments(work_ / "out");
  plan.front() = "plan";
  const ProgramResult first = run_program(plan);
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("never run"));
  EXPECT_FALSE(std::filesystem::exists(work_ / "out"));
  ASSERT_EQ(run_program(arguments(work_ / "out")).exit_code, 0);
  EXPECT_THAT(run_program(plan).out, ::testing::Not(HasSubstr("run:")));
}

TEST_F(DeterminismTest, SubcommandsGiveTheBytesOfTheLine) {
  const auto line = work_ / "line";
  const auto steps = work_ / "steps";
  ASSERT_EQ(run_program(arguments(line)).exit_code, 0);
  std::filesystem::create_directory(steps);
  const auto at = [&](const char* name) { return (steps / name).string(); };
  const std::vector<std::vector<std::string>> commands = {
      {"tile", "--slide", slide().string(), "--out", at("tiles.h5")},
      {"embed", "--slide", slide().string(), "--tiles", at("tiles.h5"), "--out", at("features.h5")},
      {"express", "--tiles", at("tiles.h5"), "--features", at("features.h5"), "--out", at("expression.h5ad")},
      {"encode", "--expression", at("expression.h5ad"), "--out", at("genes.h5")},
      {"synthesize", "--features", at("features.h5"), "--genes", at("genes.h5"), "--out", at("latents/")},
      {"stitch", "--latents", at("latents"), "--tiles", at("tiles.h5"), "--expression", at("expression.h5ad"), "--out",
       at("virtual.tiff")},
      {"evaluate", "--slide", slide().string(), "--tiles", at("tiles.h5"), "--features", at("features.h5"), "--latents",
       at("latents"), "--virtual", at("virtual.tiff"), "--out", at("metrics.json")}};
  for (std::vector<std::string> command : commands) {
    command.insert(command.end(), {"--config", null_config(), "--progress", "off"});
    const ProgramResult result = run_program(command);
    ASSERT_EQ(result.exit_code, 0) << command.front() << ": " << result.err;
  }
  for (const char* name : {"tiles.h5", "features.h5", "expression.h5ad", "genes.h5", "virtual.tiff", "metrics.json"}) {
    EXPECT_EQ(sha256_file(steps / name), sha256_file(line / name)) << name;
  }
}

}  // namespace
}  // namespace vtissue::testing
