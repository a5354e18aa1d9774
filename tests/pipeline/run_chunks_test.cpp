#include "pipeline/run_chunks.h"

#include <gmock/gmock.h>

#include <mutex>
#include <set>
#include <thread>

#include "fixtures.h"

namespace vtissue::pipeline {
namespace {

using testing::CountedItem;
using testing::Counts;
using ::testing::ElementsAre;
using testing::expect_error;
using ::testing::HasSubstr;
using testing::ScratchFolder;

/// Remembers the calls.
class RecordingProgress : public Progress {
 public:
  void stage_started(std::string_view, std::int64_t total_units, std::string_view) override { total = total_units; }
  void advanced(std::string_view, std::int64_t units_done) override {
    monotonic = monotonic && units_done >= done;
    done = units_done;
  }
  void stage_finished(std::string_view, std::string_view) override {}
  std::int64_t total = 0;
  std::int64_t done = 0;
  bool monotonic = true;
};

class RunChunks : public ::testing::Test {
 protected:
  RunContext context(int in_flight = 4) {
    return RunContext("fake", ChunkStore(scratch_.path()), {.threads = 2, .in_flight = in_flight}, progress_,
                      stop_.get_token());
  }

  /// Runs `count` chunks whose content is their id as text.
  void run(RunContext& ctx, std::uint64_t count) {
    for_each_chunk<CountedItem>(
        ctx, count,
        [&](std::uint64_t id) {
          if (on_read_) on_read_(id);
          return CountedItem(counts_, std::to_string(id));
        },
        [&](std::uint64_t id, CountedItem&) {
          computed_.push_back(id);  // serial: no lock
          if (on_compute_) on_compute_(id);
        },
        [&](std::uint64_t id, CountedItem& item) {
          if (on_encode_) on_encode_(id);
          const auto bytes = std::as_bytes(std::span(item.text()));
          return std::vector<std::byte>(bytes.begin(), bytes.end());
        },
        [](std::uint64_t id) { return static_cast<std::int64_t>(id % 3); });
  }

  std::vector<std::uint64_t> committed(std::uint64_t count) const {
    std::vector<std::uint64_t> ids;
    for (std::uint64_t id = 0; id < count; ++id) {
      if (ChunkStore(scratch_.path()).has(id)) ids.push_back(id);
    }
    return ids;
  }

  ScratchFolder scratch_;
  RecordingProgress progress_;
  std::stop_source stop_;
  std::shared_ptr<Counts> counts_ = std::make_shared<Counts>();
  std::vector<std::uint64_t> computed_;
  std::function<void(std::uint64_t)> on_read_, on_compute_, on_encode_;
};

TEST_F(RunChunks, ComputesInOrderAndCommitsAll) {
  RunContext ctx = context();
  run(ctx, 50);
  EXPECT_EQ(committed(50).size(), 50u);
  EXPECT_EQ(computed_.size(), 50u);
  EXPECT_TRUE(std::is_sorted(computed_.begin(), computed_.end()));
  EXPECT_EQ(counts_->alive, 0);
  EXPECT_TRUE(progress_.monotonic);
  EXPECT_EQ(progress_.done, 49);  // 16 x (0 + 1 + 2) + 0 + 1
}

TEST_F(RunChunks, NoChunksIsNoWork) {
  RunContext ctx = context();
  run(ctx, 0);
  EXPECT_TRUE(computed_.empty());
}

TEST_F(RunChunks, SkipsCommittedChunksAndCountsThemAsDone) {
  RunContext ctx = context();
  for (const std::uint64_t id : {0u, 2u, 5u}) ctx.chunks().commit(id, {});
  run(ctx, 6);
  EXPECT_THAT(computed_, ElementsAre(1, 3, 4));
  EXPECT_EQ(progress_.done, 6);
}

TEST_F(RunChunks, HoldsNoMoreThanInFlight) {
  for (const int in_flight : {1, 2, 5}) {
    counts_->most_alive = 0;
    ChunkStore(scratch_.path()).clear();
    RunContext ctx = context(in_flight);
    on_compute_ = [](std::uint64_t) { std::this_thread::yield(); };
    run(ctx, 60);
    EXPECT_LE(counts_->most_alive, in_flight);
    EXPECT_GE(counts_->most_alive, 1);
  }
}

TEST_F(RunChunks, AStopEndsAfterTheCurrentChunkAndIsResumable) {
  on_compute_ = [&](std::uint64_t id) {
    if (id == 3) stop_.request_stop();
  };
  RunContext ctx = context();
  const Error error = expect_error([&] { run(ctx, 100); });
  EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
  EXPECT_THAT(error.what(), HasSubstr("run the same command again"));
  EXPECT_THAT(computed_, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(committed(100), ElementsAre(0, 1, 2, 3));

  stop_ = std::stop_source();
  on_compute_ = nullptr;
  RunContext again = context();
  run(again, 100);
  EXPECT_EQ(committed(100).size(), 100u);
  EXPECT_EQ(computed_.size(), 100u);
}

TEST_F(RunChunks, AStopAfterTheLastChunkIsNoInterruption) {
  on_encode_ = [&](std::uint64_t) { stop_.request_stop(); };
  RunContext ctx = context(1);
  run(ctx, 1);
  EXPECT_THAT(committed(1), ElementsAre(0));
}

TEST_F(RunChunks, AnErrorNamesItsChunkAndTheOthersUnderWayAreCommitted) {
  for (const std::string_view where : {"read", "compute", "encode"}) {
    ChunkStore(scratch_.path()).clear();
    on_read_ = on_compute_ = on_encode_ = nullptr;
    const auto fail = [](std::uint64_t id) {
      if (id >= 5) throw Error(ErrorCode::kBadInput, "broken");
    };
    (where == "read" ? on_read_ : where == "compute" ? on_compute_ : on_encode_) = fail;
    RunContext ctx = context();
    const Error error = expect_error([&] { run(ctx, 100); });
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    EXPECT_STREQ(error.what(), "chunk 5: broken") << where;
    EXPECT_THAT(committed(100), ElementsAre(0, 1, 2, 3, 4)) << where;
    EXPECT_EQ(counts_->alive, 0);
  }
}

TEST_F(RunChunks, OtherExceptionsPassUnchanged) {
  on_compute_ = [](std::uint64_t) { throw std::bad_alloc(); };
  RunContext ctx = context();
  EXPECT_THROW(run(ctx, 3), std::bad_alloc);
}

TEST_F(RunChunks, ContextKeepsWarningsAndReports) {
  RunContext ctx = context();
  ctx.warn("3 tiles are blank");
  ctx.report("tiles", 192);
  EXPECT_THAT(ctx.warnings(), ElementsAre("3 tiles are blank"));
  EXPECT_EQ(ctx.reported(), nlohmann::json({{"tiles", 192}}));
  EXPECT_NO_THROW(ctx.throw_if_stopped());
}

}  // namespace
}  // namespace vtissue::pipeline
