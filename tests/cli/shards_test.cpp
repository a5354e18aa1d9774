// Work that is divided into shards ends in the bytes of one run.

#include <csignal>

#include "line_fixture.h"

namespace vtissue::testing {
namespace {

using ::testing::HasSubstr;

class ShardsTest : public LineTest {
 protected:
  static std::vector<std::string> sharded(const std::filesystem::path& out, const std::string& shard,
                                          const std::vector<std::string>& more = {}) {
    std::vector<std::string> all = slowly(out);
    all.insert(all.end(), {"--shard", shard});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  static void expect_same_stores(const std::filesystem::path& one, const std::filesystem::path& other) {
    for (const char* name :
         {"tiles.h5", "features.h5", "expression.h5ad", "genes.h5", "latents/index.json", "virtual.tiff"}) {
      EXPECT_EQ(sha256_file(one / name), sha256_file(other / name)) << name;
    }
  }
};

TEST_F(ShardsTest, SubcommandsInShardsGiveTheBytesOfTheLine) {
  const std::map<int, std::string> mode_of = {{1, "shifted"}, {2, "independent"}, {3, "shifted"}, {7, "overlap"}};
  for (const auto& [count, mode] : mode_of) {
    const std::vector<std::string> setting = {"--set", "synthesize.mode=" + mode};
    const auto line = work_ / ("line-" + mode);
    ASSERT_EQ(run_program(arguments(line, setting)).exit_code, 0);
    const auto steps = work_ / ("steps-" + std::to_string(count));
    std::filesystem::create_directory(steps);
    const auto at = [&](const char* name) { return (steps / name).string(); };
    const std::vector<std::vector<std::string>> commands = {
        {"tile", "--slide", slide().string(), "--out", at("tiles.h5")},
        {"embed", "--slide", slide().string(), "--tiles", at("tiles.h5"), "--out", at("features.h5")},
        {"express", "--tiles", at("tiles.h5"), "--features", at("features.h5"), "--out", at("expression.h5ad")},
        {"encode", "--expression", at("expression.h5ad"), "--out", at("genes.h5")},
        {"synthesize", "--features", at("features.h5"), "--genes", at("genes.h5"), "--out", at("latents")},
        {"stitch", "--latents", at("latents"), "--tiles", at("tiles.h5"), "--expression", at("expression.h5ad"),
         "--out", at("virtual.tiff")}};
    for (std::vector<std::string> command : commands) {
      command.insert(command.end(), {"--config", null_config(), "--progress", "off"});
      command.insert(command.end(), setting.begin(), setting.end());
      for (int index = 1; index <= count; ++index) {
        std::vector<std::string> shard = command;
        shard.insert(shard.end(), {"--shard", std::to_string(index) + "-of-" + std::to_string(count)});
        const ProgramResult result = run_program(shard);
        ASSERT_EQ(result.exit_code, 0) << command.front() << ": " << result.err;
        EXPECT_THAT(result.out, HasSubstr(".shard-" + std::to_string(index) + "-of-" + std::to_string(count)));
      }
      command.insert(command.end(), {"--join", std::to_string(count)});
      const ProgramResult result = run_program(command);
      ASSERT_EQ(result.exit_code, 0) << command.front() << ": " << result.err;
    }
    expect_same_stores(steps, line);
  }
}

TEST_F(ShardsTest, RunsOfAllShardsInOneFolderMakeTheSlide) {
  ASSERT_EQ(run_program(slowly(work_ / "line")).exit_code, 0);
  const auto out = work_ / "out";
  std::vector<std::unique_ptr<Program>> programs;
  for (const char* shard : {"1/3", "2/3", "3/3"}) {
    programs.push_back(std::make_unique<Program>(sharded(out, shard, {"--wait"})));
  }
  for (auto& program : programs) {
    const ProgramResult result = program->wait();
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
  expect_same_stores(out, work_ / "line");
  EXPECT_EQ(sha256_file(out / "metrics.json"), sha256_file(work_ / "line" / "metrics.json"));
  EXPECT_TRUE(std::filesystem::exists(out / "run.json"));
  EXPECT_TRUE(std::filesystem::is_empty(out / ".vtissue" / "shards"));
  EXPECT_THAT(run_program(slowly(out)).err, HasSubstr("nothing to do"));
}

TEST_F(ShardsTest, WithoutWaitingEachGoesAsFarAsItCan) {
  const auto out = work_ / "out";
  const ProgramResult first = run_program(sharded(out, "1/2"));
  EXPECT_EQ(first.exit_code, 0);
  EXPECT_THAT(first.err, HasSubstr("not there yet: shards 2/2"));
  EXPECT_EQ(first.out, "");
  std::vector<std::string> plan = sharded(out, "2/2");
  plan.front() = "plan";
  const ProgramResult planned = run_program(plan);
  EXPECT_THAT(planned.out, HasSubstr("computed already: shards 1/2"));
  EXPECT_THAT(planned.out, HasSubstr("shard 2/2 of "));
  for (int sweep = 0; sweep < 7; ++sweep) {
    for (const char* shard : {"1/2", "2/2"}) ASSERT_EQ(run_program(sharded(out, shard)).exit_code, 0);
  }
  ASSERT_EQ(run_program(slowly(work_ / "line")).exit_code, 0);
  expect_same_stores(out, work_ / "line");
}

TEST_F(ShardsTest, AKilledShardIsRepeated) {
  ASSERT_EQ(run_program(slowly(work_ / "line")).exit_code, 0);
  const auto out = work_ / "out";
  Program other(sharded(out, "2/2", {"--wait"}));
  for (int kill = 0; kill < 4; ++kill) {
    Program program(sharded(out, "1/2", {"--wait"}));
    if (program.ended_within(std::chrono::milliseconds(60 + 90 * kill))) break;
    const ProgramResult twice = run_program(sharded(out, "1/2"));
    if (twice.exit_code != 0) {
      EXPECT_EQ(twice.exit_code, 6) << twice.err;
      EXPECT_THAT(twice.err, HasSubstr("shard 1/2"));
    }
    program.signal(SIGKILL);
    program.wait();
  }
  EXPECT_EQ(run_program(sharded(out, "1/2", {"--wait"})).exit_code, 0);
  EXPECT_EQ(other.wait().exit_code, 0);
  expect_same_stores(out, work_ / "line");
}

TEST_F(ShardsTest, WhatCannotBeIsSaid) {
  const auto fails = [&](std::vector<std::string> command, int code, const std::string& message) {
    const ProgramResult result = run_program(command);
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(message));
  };
  const std::vector<std::string> tile = {"tile",     "--slide",     slide().string(),
                                         "--config", null_config(), "--progress",
                                         "off",      "--out",       (work_ / "tiles.h5").string()};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), tile.begin(), tile.end());
    return more;
  };
  fails(with({"--shard", "3/2"}), 2, "shard '3/2'");
  fails(with({"--shard", "1/2", "--join", "2"}), 2, "--shard and --join");
  fails(with({"--join", "2"}), 3, "shards 1/2, 2/2 of tile are missing");
  fails(arguments(work_ / "out", {"--wait"}), 2, "--wait belongs to --shard");
  ASSERT_EQ(run_program(with({"--shard", "1/2"})).exit_code, 0);
  ASSERT_EQ(run_program(with({"--shard", "2/2", "--set", "tile.min_tissue=0.5"})).exit_code, 0);
  fails(with({"--join", "2"}), 3, "tile.min_tissue changed 0.5 → 0.25");
}

}  // namespace
}  // namespace vtissue::testing
