// The virtual slide's bytes do not depend on threads, on what is in flight, or on interruptions.

#include <csignal>
#include <random>
#include <thread>

#include "line_fixture.h"

namespace vtissue::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

class DeterminismTest : public LineTest {};

TEST_F(DeterminismTest, SameBytesForAnyThreadsAndInFlight) {
  ASSERT_EQ(run_program(arguments(work_ / "reference", {"--threads", "1", "--in-flight", "1"})).exit_code, 0);
  const std::string reference = virtual_sha(work_ / "reference");
  for (const char* threads : {"1", "2"}) {
    for (const char* in_flight : {"1", "3", "8"}) {
      const auto out = work_ / (std::string("out-") + threads + "-" + in_flight);
      const ProgramResult result = run_program(arguments(out, {"--threads", threads, "--in-flight", in_flight}));
      ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(virtual_sha(out), reference) << threads << " threads, " << in_flight << " in flight";
    }
  }
}

TEST_F(DeterminismTest, SameBytesAfterKillAtTenRandomMoments) {
  const auto started = std::chrono::steady_clock::now();
  ASSERT_EQ(run_program(arguments(work_ / "reference")).exit_code, 0);
  const auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - started);
  const std::string reference = virtual_sha(work_ / "reference");

  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  // Small chunks, so that there is something committed at most moments.
  const std::vector<std::string> small_chunks = {"--set", "embed.chunk_tiles=4", "--set", "synthesize.chunk_tiles=2"};
  int killed = 0;
  const auto out = work_ / "killed";
  for (int i = 0; i < 10; ++i) {
    Program program(arguments(out, small_chunks));
    const std::chrono::milliseconds moment(
        std::uniform_int_distribution<int>(1, static_cast<int>(whole.count()))(random));
    if (program.ended_within(moment)) {
      ASSERT_EQ(program.wait().exit_code, 0);
      std::filesystem::remove_all(out);  // finished before its moment: begin anew
      continue;
    }
    program.signal(SIGKILL);
    EXPECT_EQ(program.wait().exit_code, -1);
    ++killed;
  }
  EXPECT_GE(killed, 3) << "hardly any run was still going when it was to be killed";
  const ProgramResult last = run_program(arguments(out, small_chunks));
  ASSERT_EQ(last.exit_code, 0) << last.err;

  ASSERT_EQ(run_program(arguments(work_ / "undisturbed", small_chunks)).exit_code, 0);
  EXPECT_EQ(virtual_sha(out), virtual_sha(work_ / "undisturbed"));
  EXPECT_EQ(sha256_file(out / "features.h5"), sha256_file(work_ / "reference" / "features.h5"));
}

TEST_F(DeterminismTest, AStopRequestEndsAfterTheChunkAndTheSameCommandGoesOn) {
  ASSERT_EQ(run_program(arguments(work_ / "reference")).exit_code, 0);
  Program program(arguments(work_ / "out"));
  while (!std::filesystem::exists(work_ / "out" / ".vtissue" / "lock") &&
         !program.ended_within(std::chrono::milliseconds(1))) {
  }
  program.signal(SIGTERM);
  const ProgramResult stopped = program.wait();
  EXPECT_THAT(stopped.exit_code, AnyOf(130, 0)) << stopped.err;
  const ProgramResult result = run_program(arguments(work_ / "out"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(virtual_sha(work_ / "out"), virtual_sha(work_ / "reference"));
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
  const ProgramResult changed = run_program(arguments(work_ / "out", {"--set", "stitch.jpeg_quality=80"}));
  ASSERT_EQ(changed.exit_code, 0) << changed.err;
  for (const char* stage : {"tile", "embed", "express", "encode", "synthesize"}) {
    EXPECT_THAT(changed.err, HasSubstr(std::string(stage) + ": up to date"));
  }
  EXPECT_THAT(changed.err, HasSubstr("stitch: done"));
  EXPECT_THAT(changed.err, HasSubstr("jpeg_quality changed 90 → 80"));
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
      {"synthesize", "--features", at("features.h5"), "--genes", at("genes.h5"), "--out", at("latents")},
      {"stitch", "--latents", at("latents"), "--tiles", at("tiles.h5"), "--expression", at("expression.h5ad"), "--out",
       at("virtual.tiff")},
      {"evaluate", "--slide", slide().string(), "--tiles", at("tiles.h5"), "--features", at("features.h5"), "--virtual",
       at("virtual.tiff"), "--out", at("metrics.json")}};
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
