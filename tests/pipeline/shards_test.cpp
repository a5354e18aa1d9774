#include <gmock/gmock.h>

#include <set>
#include <thread>

#include "fixtures.h"
#include "pipeline/shard.h"
#include "pipeline/sharding.h"

namespace vtissue::pipeline::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Shards, AreReadInBothWaysOfWritingThem) {
  EXPECT_EQ(parse_shard("2/3"), (Shard{2, 3}));
  EXPECT_EQ(parse_shard("2-of-3"), (Shard{2, 3}));
  for (const char* bad : {"", "2", "0/3", "4/3", "-1/3", "1/0", "a/b", "1/3x", "1/1000000", "1 / 3"}) {
    const Error error = expect_error([&] { parse_shard(bad); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_THAT(error.what(), HasSubstr("such as 2/3")) << bad;
  }
}

TEST(Shards, SharesCoverEveryChunkOnce) {
  for (const std::uint64_t chunks : {0, 1, 2, 7, 100}) {
    for (const int count : {1, 2, 3, 7, 101}) {
      std::uint64_t next = 0;
      for (int index = 1; index <= count; ++index) {
        const ChunkIds share = share_of(chunks, {index, count});
        EXPECT_EQ(share.first, next);
        EXPECT_LE(share.count, chunks / static_cast<std::uint64_t>(count) + 1);
        next += share.count;
      }
      EXPECT_EQ(next, chunks);
    }
  }
}

class ShardRuns : public ::testing::Test {
 protected:
  void SetUp() override { spill(scratch_ / "slide", "pixels"); }

  Graph graph(const std::string& out) const { return line_.graph(scratch_ / "slide", scratch_ / out); }

  std::vector<StageOutcome> run(const std::string& out, const Sharding& sharding, std::stop_token stop = {}) const {
    return execute(graph(out), scratch_ / out, {.resources = {.threads = 2, .in_flight = 3}, .sharding = sharding},
                   std::move(stop));
  }
  /// As `vtissue run --shard` does.
  Sharding of_line(const std::string& out, int index, int count, bool wait = false) const {
    return {.own = Shard{index, count}, .go_on = true, .wait = wait, .folder = scratch_ / out / ".vtissue" / "shards"};
  }
  int computed() const {
    return line_.tile->counts->computed + line_.embed->counts->computed + line_.stitch->counts->computed +
           line_.count->counts->computed;
  }
  std::map<std::string, std::string> whole() const {
    execute(graph("whole"), scratch_ / "whole");
    auto results = results_in(scratch_ / "whole");
    for (const auto& stage : {line_.tile, line_.embed, line_.stitch, line_.count}) stage->counts->computed = 0;
    return results;
  }

  ScratchFolder scratch_;
  FakeLine line_;
};

TEST_F(ShardRuns, AnyNumberGivesTheSameAndComputesEachChunkOnce) {
  const auto expected = whole();
  for (const int count : {1, 2, 3, 7}) {
    const std::string out = "out" + std::to_string(count);
    for (const auto& stage : {line_.tile, line_.embed, line_.stitch, line_.count}) stage->counts->computed = 0;
    for (int sweep = 0; sweep < 4; ++sweep) {
      for (int index = 1; index <= count; ++index) run(out, of_line(out, index, count));
    }
    EXPECT_EQ(results_in(scratch_ / out), expected) << count;
    EXPECT_EQ(computed(), 4 * 8) << count;
    // Nothing is left of the shards.
    EXPECT_TRUE(shards_beside(scratch_ / out / ".vtissue" / "shards" / "features").empty());
    EXPECT_TRUE(std::filesystem::is_empty(scratch_ / out / ".vtissue" / "work"));
  }
}

TEST_F(ShardRuns, OneThatEndsEarlySaysWhichOthersAreNotThere) {
  const auto outcomes = run("out", of_line("out", 2, 3));
  EXPECT_EQ(outcomes[0].kind, OutcomeKind::kShard);
  EXPECT_EQ(outcomes[0].missing, (std::vector<Shard>{{1, 3}, {3, 3}}));
  EXPECT_EQ(outcomes[1].kind, OutcomeKind::kNotReached);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "out" / "tiles"));
}

TEST_F(ShardRuns, AtTheSameTimeTheyWaitForEachOther) {
  const auto expected = whole();
  std::vector<std::thread> runs;
  for (int index = 1; index <= 3; ++index) {
    runs.emplace_back([&, index] { run("out", of_line("out", index, 3, true)); });
  }
  for (std::thread& thread : runs) thread.join();
  EXPECT_EQ(results_in(scratch_ / "out"), expected);
  EXPECT_EQ(computed(), 4 * 8);
}

TEST_F(ShardRuns, WhatIsNotDivisibleIsDoneByOneOfThem) {
  const auto expected = whole();
  line_.count->divided = false;
  line_.embed->divided = false;
  std::vector<std::thread> runs;
  for (int index = 1; index <= 3; ++index) {
    runs.emplace_back([&, index] { run("out", of_line("out", index, 3, true)); });
  }
  for (std::thread& thread : runs) thread.join();
  EXPECT_EQ(results_in(scratch_ / "out"), expected);
  EXPECT_EQ(computed(), 4 * 8);
}

TEST_F(ShardRuns, AnOrdinaryRunTakesWhatShardsHaveComputed) {
  const auto expected = whole();
  run("out", of_line("out", 2, 3));
  const int before = computed();
  EXPECT_GT(before, 0);
  Sharding ordinary;
  ordinary.folder = scratch_ / "out" / ".vtissue" / "shards";
  run("out", ordinary);
  EXPECT_EQ(results_in(scratch_ / "out"), expected);
  EXPECT_EQ(computed(), 4 * 8);
}

TEST_F(ShardRuns, AStoppedShardGoesOnToTheSame) {
  const auto expected = whole();
  std::stop_source stop;
  line_.tile->on_compute = [&](std::uint64_t id) {
    if (id == 1) stop.request_stop();
  };
  EXPECT_EQ(expect_error([&] { run("out", of_line("out", 1, 2), stop.get_token()); }).code(), ErrorCode::kInterrupted);
  line_.tile->on_compute = {};
  for (int sweep = 0; sweep < 4; ++sweep) {
    for (int index = 1; index <= 2; ++index) run("out", of_line("out", index, 2));
  }
  EXPECT_EQ(results_in(scratch_ / "out"), expected);
  EXPECT_EQ(computed(), 4 * 8);
}

/// Runs `body` while shard 1/2 is at work.
template <typename Body>
void while_a_shard_runs(const std::function<void()>& shard, FakeStage& stage, const Body& body) {
  std::atomic<bool> at_work = false, may_end = false;
  stage.on_compute = [&](std::uint64_t) {
    at_work = true;
    while (!may_end) std::this_thread::yield();
  };
  std::thread other(shard);
  while (!at_work) std::this_thread::yield();
  body();
  may_end = true;
  other.join();
  stage.on_compute = {};
}

TEST_F(ShardRuns, TheSameShardTwiceIsRefused) {
  while_a_shard_runs([&] { run("out", of_line("out", 1, 2)); }, *line_.tile,
                     [&] {
                       const Error same = expect_error([&] { run("out", of_line("out", 1, 2)); });
                       EXPECT_EQ(same.code(), ErrorCode::kOutput);
                       EXPECT_THAT(same.what(), HasSubstr("shard 1/2: "));
                       EXPECT_THAT(same.what(), HasSubstr("another vtissue run (pid "));
                       const Error whole = expect_error([&] { run("out", {}); });
                       EXPECT_EQ(whole.code(), ErrorCode::kOutput);
                     });
}

TEST_F(ShardRuns, NoShardBesideAnOrdinaryRun) {
  while_a_shard_runs([&] { run("out", {}); }, *line_.tile,
                     [&] {
                       const Error error = expect_error([&] { run("out", of_line("out", 1, 2)); });
                       EXPECT_EQ(error.code(), ErrorCode::kOutput);
                       EXPECT_THAT(error.what(), HasSubstr("not for a shard"));
                     });
}

/// One stage whose shards lie beside its output, as a subcommand has it.
class OneStage : public ::testing::Test {
 protected:
  void SetUp() override {
    stage_->input_ports = {{"slide"}};
    spill(scratch_ / "slide", "pixels");
  }

  std::vector<StageOutcome> run(const Sharding& sharding, const std::string& name = "out") const {
    Graph graph;
    graph.add({stage_, {{"slide", scratch_ / "slide"}}, {{"out", scratch_ / name}}});
    const std::unique_ptr<Progress> progress = make_progress(ProgressStyle::kOff);
    Executor executor(graph, folders_for_output(scratch_ / name), {.sharding = sharding}, *progress);
    executor.run({});
    return executor.outcomes();
  }
  std::filesystem::path shard(int index, int count) const { return shard_path(scratch_ / "out", {index, count}); }

  ScratchFolder scratch_;
  std::shared_ptr<FakeStage> stage_ = std::make_shared<FakeStage>("embed");
};

TEST_F(OneStage, JoinsItsShardsToTheBytesOfOneRun) {
  run({}, "whole");
  const int whole = stage_->counts->computed;
  for (const int count : {1, 2, 3, 7, 20}) {
    stage_->counts->computed = 0;
    for (int index = 1; index <= count; ++index) run({.own = Shard{index, count}});
    EXPECT_EQ(stage_->counts->computed, whole);
    run({.join = count});
    EXPECT_EQ(stage_->counts->computed, whole);
    EXPECT_EQ(slurp(scratch_ / "out"), slurp(scratch_ / "whole"));
    EXPECT_TRUE(std::filesystem::exists(shard(1, count)));  // a workflow engine's to remove
    std::filesystem::remove(scratch_ / "out");
    std::filesystem::remove_all(scratch_ / ".out.vtissue");
  }
}

TEST_F(OneStage, ShardsHaveTheSameBytesWhateverElseIsThere) {
  run({.own = Shard{2, 3}});
  const std::string bytes = slurp(shard(2, 3));
  std::filesystem::remove(shard(2, 3));
  run({.own = Shard{1, 3}});
  run({.own = Shard{2, 3}});
  EXPECT_EQ(slurp(shard(2, 3)), bytes);
}

TEST_F(OneStage, MissingShardsAreNamed) {
  run({.own = Shard{2, 4}});
  const Error error = expect_error([&] { run({.join = 4}); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("shards 1/4, 3/4, 4/4 of embed are missing"));
  EXPECT_THAT(error.what(), HasSubstr("out.shard-1-of-4"));
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "out"));
  const Error other = expect_error([&] { run({.join = 2}); });
  EXPECT_THAT(other.what(), HasSubstr("of other numbers there are 2/4"));
}

TEST_F(OneStage, ShardsOfOtherParametersAreRefused) {
  run({.own = Shard{1, 2}});
  stage_->settings = {{"size_px", 256}};
  run({.own = Shard{2, 2}});
  const Error error = expect_error([&] { run({.join = 2}); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("out.shard-1-of-2: not a shard of this work: embed.size_px changed 128 → 256"));
  run({.own = Shard{1, 2}});  // replaces its own kind
  run({.join = 2});
  spill(scratch_ / "slide", "other pixels");
  std::filesystem::remove(scratch_ / "out");
  EXPECT_THAT(expect_error([&] { run({.join = 2}); }).what(), HasSubstr("another input slide"));
}

TEST_F(OneStage, DamagedShardsAreRefusedAndNoOtherFileIsReplaced) {
  run({.own = Shard{1, 2}});
  run({.own = Shard{2, 2}});
  const std::string good = slurp(shard(1, 2));
  const auto refused = [&](const std::string& bytes) {
    spill(shard(1, 2), bytes);
    return std::string(expect_error([&] { run({.join = 2}); }).what());
  };
  EXPECT_THAT(refused(good.substr(0, good.size() - 5)), HasSubstr("is cut off"));
  EXPECT_THAT(refused("something else that is long enough to be one of them"), HasSubstr("is no shard"));
  EXPECT_THAT(refused(""), HasSubstr("is no shard"));
  for (const std::size_t at : {std::size_t{20}, good.size() - 40}) {
    std::string damaged = good;
    damaged[at] ^= 1;
    EXPECT_THAT(refused(damaged), HasSubstr("is damaged")) << at;
  }
  spill(shard(1, 2), "somebody's notes");
  const Error error = expect_error([&] { run({.own = Shard{1, 2}}); });
  EXPECT_EQ(error.code(), ErrorCode::kOutput);
  EXPECT_EQ(slurp(shard(1, 2)), "somebody's notes");
  spill(shard(1, 2), good);
  std::filesystem::rename(shard(2, 2), shard(1, 2));
  spill(shard(2, 2), good);
  EXPECT_THAT(expect_error([&] { run({.join = 2}); }).what(), HasSubstr("is shard 2/2, not 1/2"));
}

TEST_F(OneStage, WhatIsNotDivisibleIsJoinedFromEmptyShards) {
  run({}, "whole");
  stage_->divided = false;
  const auto outcomes = run({.own = Shard{1, 2}});
  EXPECT_THAT(outcomes.front().warnings.front(), HasSubstr("is not divided"));
  run({.own = Shard{2, 2}});
  run({.join = 2});
  EXPECT_EQ(slurp(scratch_ / "out"), slurp(scratch_ / "whole"));
}

}  // namespace
}  // namespace vtissue::pipeline::testing
