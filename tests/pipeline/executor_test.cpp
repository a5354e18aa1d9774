#include "pipeline/executor.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <latch>
#include <thread>

#include "fixtures.h"
#include "pipeline/lock.h"
#include "pipeline/run_record.h"

namespace vtissue::pipeline {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using testing::execute;
using testing::expect_error;
using testing::FakeLine;
using testing::FakeStage;
using ::testing::HasSubstr;
using testing::results_in;
using testing::ScratchFolder;
using testing::slurp;
using testing::spill;

class ExecutorTest : public ::testing::Test {
 protected:
  ExecutorTest() { spill(slide_, "pixels"); }
  Graph graph() const { return line_.graph(slide_, out_); }
  std::vector<StageOutcome> run(ExecutorOptions options = {.resources = {.threads = 2, .in_flight = 3}},
                                std::stop_token stop = {}) {
    return execute(graph(), out_, options, stop);
  }
  /// What an undisturbed run of the same line gives.
  std::map<std::string, std::string> expected() const {
    ScratchFolder other;
    FakeLine fresh;
    fresh.tile->settings = line_.tile->settings;
    fresh.embed->settings = line_.embed->settings;
    execute(fresh.graph(slide_, other / "out"), other / "out");
    return results_in(other / "out");
  }

  ScratchFolder scratch_;
  fs::path slide_ = scratch_ / "slide";
  fs::path out_ = scratch_ / "out";
  FakeLine line_;
};

TEST_F(ExecutorTest, RunsEveryStageAndLeavesOnlyResults) {
  const auto outcomes = run();
  EXPECT_THAT(line_.runs(), ElementsAre(1, 1, 1, 1));
  for (const StageOutcome& outcome : outcomes) EXPECT_EQ(outcome.kind, OutcomeKind::kRan) << outcome.name;
  std::vector<std::string> names;
  for (const auto& [name, text] : results_in(out_)) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("counts", "features/data", "features/index.json", "tiles", "virtual"));
  EXPECT_TRUE(!fs::exists(out_ / ".vtissue" / "work") || fs::is_empty(out_ / ".vtissue" / "work"));
}

TEST_F(ExecutorTest, ASecondRunDoesNothing) {
  const auto first = run();
  const auto stamp = fs::last_write_time(out_ / "virtual");
  const auto outcomes = run();
  EXPECT_THAT(line_.runs(), ElementsAre(1, 1, 1, 1));
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    EXPECT_EQ(outcomes[i].kind, OutcomeKind::kUpToDate);
    EXPECT_EQ(outcomes[i].fingerprint, first[i].fingerprint);
    EXPECT_EQ(outcomes[i].outputs, first[i].outputs);
  }
  EXPECT_EQ(fs::last_write_time(out_ / "virtual"), stamp);
}

TEST_F(ExecutorTest, TheBytesDoNotDependOnThreadsOrDepth) {
  const auto reference = expected();
  for (const int threads : {1, 2, 5}) {
    for (const int in_flight : {1, 7}) {
      ScratchFolder other;
      execute(line_.graph(slide_, other / "out"), other / "out", {.resources = {threads, in_flight}});
      EXPECT_EQ(results_in(other / "out"), reference) << threads << " threads, " << in_flight << " in flight";
    }
  }
}

TEST_F(ExecutorTest, AChangedParameterRunsOnlyWhatDependsOnIt) {
  run();
  line_.embed->settings["size_px"] = 64;
  run();
  EXPECT_THAT(line_.runs(), ElementsAre(1, 2, 2, 1));
  EXPECT_EQ(results_in(out_), expected());
}

TEST_F(ExecutorTest, StopsEarlyWhereTheContentComesOutAsBefore) {
  line_.embed->use_inputs = false;
  run();
  line_.tile->settings["size_px"] = 64;
  const auto outcomes = run();
  EXPECT_THAT(line_.runs(), ElementsAre(2, 2, 1, 2));  // embed ran, but made the same features
}

TEST_F(ExecutorTest, ATouchedOutputIsLookedAtAndATamperedOneIsMadeAgain) {
  run();
  fs::last_write_time(out_ / "tiles", fs::file_time_type::clock::now());
  run();
  EXPECT_THAT(line_.runs(), ElementsAre(1, 1, 1, 1));
  const std::string good = slurp(out_ / "tiles");
  spill(out_ / "tiles", "tampered");
  run();
  EXPECT_THAT(line_.runs(), ElementsAre(2, 1, 1, 1));
  EXPECT_EQ(slurp(out_ / "tiles"), good);
}

TEST_F(ExecutorTest, GoesOnFromTheCommittedChunksAfterAnError) {
  const auto reference = expected();
  line_.embed->on_compute = [](std::uint64_t id) {
    if (id == 5) throw Error(ErrorCode::kDevice, "out of memory");
  };
  const Error error = expect_error([&] { run(); });
  EXPECT_EQ(error.code(), ErrorCode::kDevice);
  EXPECT_STREQ(error.what(), "embed: chunk 5: out of memory");
  EXPECT_FALSE(fs::exists(out_ / "features"));
  EXPECT_FALSE(fs::exists(out_ / ".features.partial"));
  line_.embed->on_compute = nullptr;
  const int before = line_.embed->counts->computed;
  run();
  // The chunks before it, and those that were under way.
  EXPECT_GE(before, 5);
  EXPECT_LE(before, 7);
  EXPECT_EQ(line_.embed->counts->computed, 8);
  EXPECT_EQ(line_.tile->counts->runs, 1);
  EXPECT_EQ(results_in(out_), reference);
}

TEST_F(ExecutorTest, ADamagedPartIsComputedAgain) {
  const auto reference = expected();
  line_.tile->on_layout = [](RunContext&) { throw Error(ErrorCode::kOutput, "no room for the layout"); };
  expect_error([&] { run(); });
  line_.tile->on_layout = nullptr;
  std::vector<fs::path> parts;
  for (const auto& entry : fs::recursive_directory_iterator(out_ / ".vtissue" / "work")) {
    if (entry.path().extension() == ".part") parts.push_back(entry.path());
  }
  ASSERT_EQ(parts.size(), 8u);
  std::string damaged = slurp(parts[3]);
  damaged.back() ^= 1;
  spill(parts[3], damaged);
  fs::resize_file(parts[6], 50);
  run();
  EXPECT_EQ(line_.tile->counts->computed, 8 + 2);
  EXPECT_EQ(results_in(out_), reference);
}

TEST_F(ExecutorTest, PartsOfOtherFingerprintsGoOnceTheStageIsDone) {
  line_.tile->on_layout = [](RunContext&) { throw Error(ErrorCode::kOutput, "no room"); };
  expect_error([&] { run(); });
  const fs::path work = out_ / ".vtissue" / "work";
  EXPECT_FALSE(fs::is_empty(work));
  fs::create_directory(work / "tile-set-0123456789abcdef");
  line_.tile->settings["size_px"] = 99;
  expect_error([&] { run(); });
  EXPECT_EQ(std::distance(fs::directory_iterator(work), {}), 3);
  line_.tile->on_layout = nullptr;
  run();
  EXPECT_EQ(std::distance(fs::directory_iterator(work), {}), 1);
  EXPECT_TRUE(fs::exists(work / "tile-set-0123456789abcdef"));
}

TEST_F(ExecutorTest, AStopEndsAfterTheCurrentChunkAndTheNextRunGoesOn) {
  const auto reference = expected();
  std::stop_source stop;
  line_.tile->on_compute = [&](std::uint64_t id) {
    if (id == 2) stop.request_stop();
  };
  const std::unique_ptr<Progress> progress = make_progress(ProgressStyle::kOff);
  const Graph made = graph();
  Executor executor(made, folders_for_run(out_), {.resources = {2, 3}}, *progress);
  const Error error = expect_error([&] { executor.run(stop.get_token()); });
  EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
  EXPECT_THAT(error.what(), HasSubstr("run the same command again"));
  EXPECT_EQ(executor.outcomes()[0].kind, OutcomeKind::kInterrupted);
  EXPECT_EQ(executor.outcomes()[1].kind, OutcomeKind::kNotReached);
  EXPECT_EQ(line_.tile->counts->computed, 3);
  line_.tile->on_compute = nullptr;
  run();
  EXPECT_EQ(line_.tile->counts->computed, 8);
  EXPECT_EQ(results_in(out_), reference);
}

TEST_F(ExecutorTest, AStopBetweenStagesIsAnInterruptionToo) {
  std::stop_source stop;
  line_.tile->on_layout = [&](RunContext&) { stop.request_stop(); };
  const Error error = expect_error([&] { run({.resources = {1, 1}}, stop.get_token()); });
  EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
  EXPECT_THAT(line_.runs(), ElementsAre(1, 0, 0, 0));
  EXPECT_TRUE(fs::exists(out_ / "tiles"));
}

// embed and count depend on tile only, so they overlap; when one fails the other ends at its chunk.
TEST_F(ExecutorTest, AnErrorStopsTheOtherStagesAndIsTheOneReported) {
  line_.count->chunks = 1'000'000;
  std::latch both(2);
  line_.count->on_compute = [&](std::uint64_t id) {
    if (id == 0) both.arrive_and_wait();
  };
  line_.embed->on_compute = [&](std::uint64_t id) {
    if (id > 0) return;
    both.arrive_and_wait();
    throw Error(ErrorCode::kModel, "weights are damaged");
  };
  const std::unique_ptr<Progress> progress = make_progress(ProgressStyle::kOff);
  const Graph made = graph();
  Executor executor(made, folders_for_run(out_), {.resources = {4, 2}}, *progress);
  const Error error = expect_error([&] { executor.run({}); });
  EXPECT_EQ(error.code(), ErrorCode::kModel);
  EXPECT_STREQ(error.what(), "embed: chunk 0: weights are damaged");
  for (const StageOutcome& outcome : executor.outcomes()) {
    const OutcomeKind expected_kind = outcome.name == "tile"    ? OutcomeKind::kRan
                                      : outcome.name == "embed" ? OutcomeKind::kFailed
                                      : outcome.name == "count" ? OutcomeKind::kInterrupted
                                                                : OutcomeKind::kNotReached;
    EXPECT_EQ(outcome.kind, expected_kind) << outcome.name;
  }
  EXPECT_LT(line_.count->counts->computed, 1'000'000);
}

TEST_F(ExecutorTest, PreflightsEveryStageBeforeTheFirstComputes) {
  std::vector<std::string> seen;
  line_.embed->on_preflight = [&](const Bindings& available) {
    seen.push_back(fmt::format("embed {}", available.size()));
  };
  line_.tile->on_preflight = [&](const Bindings& available) {
    seen.push_back(fmt::format("tile {}", available.size()));
  };
  line_.stitch->on_preflight = [](const Bindings&) { throw Error(ErrorCode::kModel, "no autoencoder"); };
  const Error error = expect_error([&] { run(); });
  EXPECT_STREQ(error.what(), "stitch: no autoencoder");
  EXPECT_THAT(seen, ElementsAre("tile 1", "embed 0"));  // the tiles are yet to be made
  EXPECT_THAT(line_.runs(), ElementsAre(0, 0, 0, 0));
}

TEST_F(ExecutorTest, RefusesToReplaceAForeignFile) {
  fs::create_directories(out_);
  spill(out_ / "virtual", "someone's");
  const Error error = expect_error([&] { run(); });
  EXPECT_EQ(error.code(), ErrorCode::kOutput);
  EXPECT_THAT(error.what(), HasSubstr((out_ / "virtual").string() + ": exists and was not written by an earlier run"));
  EXPECT_THAT(error.what(), HasSubstr("--overwrite"));
  EXPECT_EQ(slurp(out_ / "virtual"), "someone's");
  EXPECT_THAT(line_.runs(), ElementsAre(0, 0, 0, 0));
  run({.resources = {2, 2}, .overwrite = true});
  EXPECT_EQ(results_in(out_), expected());
}

TEST_F(ExecutorTest, LeftoversOfAKilledRunAreNotTaken) {
  fs::create_directories(out_ / ".features.partial");
  spill(out_ / ".features.partial" / "stray", "x");
  spill(out_ / ".tiles.partial", "half");
  run();
  EXPECT_EQ(results_in(out_), expected());
}

TEST_F(ExecutorTest, TheWorkFolderCarriesChunksIntoAnEmptyOutputFolder) {
  const std::unique_ptr<Progress> progress = make_progress(ProgressStyle::kOff);
  line_.tile->on_compute = [](std::uint64_t id) {
    if (id == 6) throw Error(ErrorCode::kDevice, "gone");
  };
  const auto run_into = [&](const fs::path& out) {
    const Graph made = line_.graph(slide_, out);
    Executor(made, folders_for_run(out, scratch_ / "work"), {.resources = {2, 2}}, *progress).run({});
  };
  expect_error([&] { run_into(scratch_ / "try1"); });
  line_.tile->on_compute = nullptr;
  run_into(scratch_ / "try2");
  EXPECT_EQ(line_.tile->counts->computed, 8);
  EXPECT_EQ(results_in(scratch_ / "try2"), expected());
}

TEST_F(ExecutorTest, AnOutputFolderUnderAFileIsAnOutputError) {
  out_ = slide_ / "out";
  const Error error = expect_error([&] { run(); });
  EXPECT_EQ(error.code(), ErrorCode::kOutput);
  EXPECT_THAT(error.what(), HasSubstr(out_.string() + ": cannot create the folder"));
}

TEST_F(ExecutorTest, AFolderWithoutWritePermissionIsAnOutputErrorAndStaysEmpty) {
  fs::create_directories(out_);
  fs::permissions(out_,
                  fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read | fs::perms::others_exec);
  fs::permissions(scratch_.path(), fs::perms::all);
  const bool was_root = ::geteuid() == 0;  // root may write anywhere
  if (was_root) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  const Error error = expect_error([&] { run(); });
  if (was_root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  EXPECT_EQ(error.code(), ErrorCode::kOutput);
  EXPECT_THAT(error.what(), HasSubstr(out_.string()));
  EXPECT_THAT(error.what(), HasSubstr("choose another folder or change its permissions"));
  EXPECT_TRUE(fs::is_empty(out_));
  fs::permissions(out_, fs::perms::all);
}

TEST_F(ExecutorTest, KeepsWarningsAndFiguresForLaterRuns) {
  line_.tile->on_layout = [](RunContext& ctx) {
    ctx.warn("2 tiles are blank");
    ctx.report("tiles", 192);
  };
  run();
  const auto outcomes = run();
  EXPECT_EQ(outcomes[0].kind, OutcomeKind::kUpToDate);
  EXPECT_THAT(outcomes[0].warnings, ElementsAre("2 tiles are blank"));
  EXPECT_EQ(outcomes[0].reported.at("tiles"), 192);
}

TEST_F(ExecutorTest, TheRunRecordTellsWhatHappened) {
  const std::unique_ptr<Progress> progress = make_progress(ProgressStyle::kOff);
  line_.embed->on_compute = [](std::uint64_t) { throw Error(ErrorCode::kModel, "damaged"); };
  const Graph made = graph();
  Executor executor(made, folders_for_run(out_), {.resources = {1, 1}}, *progress);
  RunInfo info;
  info.software_version = "0.1.0";
  info.configuration = {{"tile", {{"size_px", 128}}}};
  info.numerics = {{"dtype", "f32"}};
  info.error = expect_error([&] { executor.run({}); }).what();
  write_run_record(out_ / "run.json", info, executor);
  const auto record = nlohmann::json::parse(slurp(out_ / "run.json"));
  EXPECT_EQ(record.at("outcome"), "failed");
  EXPECT_EQ(record.at("error"), "embed: chunk 0: damaged");
  EXPECT_EQ(record.at("software").at("version"), "0.1.0");
  EXPECT_EQ(record.at("configuration"), info.configuration);
  EXPECT_EQ(record.at("numerics"), info.numerics);
  EXPECT_EQ(record.at("inputs").at("tile.slide").at("name"), "slide");
  EXPECT_EQ(record.at("inputs").at("tile.slide").at("sha256").get<std::string>().size(), 64u);
  EXPECT_EQ(record.at("stages").at(0).at("name"), "tile");
  EXPECT_EQ(record.at("stages").at(0).at("outcome"), "ran");
  EXPECT_EQ(record.at("stages").at(1).at("outcome"), "failed");
  EXPECT_EQ(record.at("stages").at(0).at("reasons").at(0), "never run");
  EXPECT_THAT(record.at("timing").at("started").get<std::string>(), EndsWith("Z"));
  EXPECT_TRUE(record.at("timing").at("stage_seconds").contains("tile"));
}

TEST_F(ExecutorTest, ARefusedRunLeavesNothing) {
  line_.stitch->on_preflight = [](const Bindings&) { throw Error(ErrorCode::kModel, "no autoencoder"); };
  out_ = scratch_ / "new" / "out";
  expect_error([&] { run(); });
  EXPECT_FALSE(fs::exists(scratch_ / "new"));
  line_.stitch->on_preflight = nullptr;
  // Nor does one whose first stage finds that its input will not do.
  line_.tile->on_compute = [](std::uint64_t) { throw Error(ErrorCode::kBadInput, "no tissue"); };
  expect_error([&] { run(); });
  EXPECT_FALSE(fs::exists(scratch_ / "new"));
}

TEST_F(ExecutorTest, RunsThatShareAWorkFolderLeaveEachOthersPartsAlone) {
  const std::unique_ptr<Progress> progress = make_progress(ProgressStyle::kOff);
  const auto run_into = [&](const FakeLine& line, const fs::path& out) {
    const Graph made = line.graph(slide_, out);
    Executor(made, folders_for_run(out, scratch_ / "work"), {.resources = {2, 2}}, *progress).run({});
  };
  FakeLine other;
  other.tile->settings["size_px"] = 64;
  other.tile->on_compute = [](std::uint64_t id) {
    if (id == 5) throw Error(ErrorCode::kDevice, "gone");
  };
  expect_error([&] { run_into(other, scratch_ / "other"); });
  run_into(line_, out_);
  EXPECT_EQ(results_in(out_), expected());
  other.tile->on_compute = nullptr;
  run_into(other, scratch_ / "other");
  EXPECT_EQ(other.tile->counts->computed, 8);  // the five chunks were still there
  EXPECT_TRUE(fs::is_empty(scratch_ / "work"));
}

TEST_F(ExecutorTest, TwoRunsAtOnceMayShareAWorkFolder) {
  const std::unique_ptr<Progress> progress = make_progress(ProgressStyle::kOff);
  const auto reference = expected();
  FakeLine first, second;
  std::latch both(2);  // each is inside its first stage while the other is, under one fingerprint
  first.tile->on_compute = second.tile->on_compute = [&](std::uint64_t id) {
    if (id == 0) both.arrive_and_wait();
  };
  const auto run_into = [&](const FakeLine& line, const fs::path& out) {
    const Graph made = line.graph(slide_, out);
    Executor(made, folders_for_run(out, scratch_ / "work"), {.resources = {1, 2}}, *progress).run({});
  };
  std::thread aside([&] { run_into(first, scratch_ / "first"); });
  run_into(second, scratch_ / "second");
  aside.join();
  EXPECT_EQ(results_in(scratch_ / "first"), reference);
  EXPECT_EQ(results_in(scratch_ / "second"), reference);
  EXPECT_TRUE(fs::is_empty(scratch_ / "work"));
}

TEST_F(ExecutorTest, TheOutputFolderMayBeTheWorkFolder) {
  const std::unique_ptr<Progress> progress = make_progress(ProgressStyle::kOff);
  const Graph made = graph();
  Executor(made, folders_for_run(out_, out_), {.resources = {2, 2}}, *progress).run({});
  EXPECT_EQ(results_in(out_), expected());
}

TEST_F(ExecutorTest, AnUpToDateStageIsRidOfWhatAKilledRunLeft) {
  line_.tile->on_layout = [](RunContext&) { throw Error(ErrorCode::kOutput, "no room"); };
  expect_error([&] { run(); });
  const fs::path work = out_ / ".vtissue" / "work";
  ASSERT_FALSE(fs::is_empty(work));
  fs::copy(work, scratch_ / "parts", fs::copy_options::recursive);
  const std::string ledger = slurp(out_ / ".vtissue" / "tile.parts");
  line_.tile->on_layout = nullptr;
  run();
  // As after a kill between publishing and removing.
  fs::create_directories(work);
  fs::copy(scratch_ / "parts", work, fs::copy_options::recursive);
  spill(out_ / ".vtissue" / "tile.parts", ledger);
  spill(out_ / ".tiles.partial", "half");
  const int before = line_.tile->counts->runs;
  run();
  EXPECT_EQ(line_.tile->counts->runs, before);
  EXPECT_TRUE(fs::is_empty(work));
  EXPECT_FALSE(fs::exists(out_ / ".tiles.partial"));
}

TEST_F(ExecutorTest, ANodeWithNotesIsMadeFromWhatTheStagesBeforeItSaid) {
  line_.tile->on_layout = [](RunContext& ctx) { ctx.warn("2 tiles are blank"); };
  const auto report = std::make_shared<FakeStage>("report");
  report->input_ports = {{"virtual"}};
  std::vector<std::string> seen;
  const auto execute_with_report = [&] {
    Graph made = graph();
    made.add({.stage = report,
              .inputs = {{"virtual", OutputRef{2, "out"}}},
              .outputs = {{"out", out_ / "report"}},
              .with_notes = [&](const std::vector<StageNotes>& notes) {
                const auto stage = std::make_shared<FakeStage>(*report);
                stage->settings["warnings"] = notes.at(0).warnings;
                seen.clear();
                for (const StageNotes& each : notes) seen.push_back(each.name);
                return stage;
              }});
    return execute(made, out_);
  };
  execute_with_report();
  EXPECT_THAT(seen, ElementsAre("tile", "embed", "stitch"));
  EXPECT_THAT(slurp(out_ / "report"), HasSubstr("2 tiles are blank"));
  for (const StageOutcome& outcome : execute_with_report()) EXPECT_EQ(outcome.kind, OutcomeKind::kUpToDate);
}

TEST_F(ExecutorTest, TheRecordIsWrittenUnderTheLockAndReplacesNothingForeign) {
  const std::unique_ptr<Progress> progress = make_progress(ProgressStyle::kOff);
  const Graph made = graph();
  const fs::path record = out_ / "run.json";
  bool locked = false;
  const auto finished = [&](const Executor& executor, const Error*) {
    locked = !FolderLock::try_lock(out_ / ".vtissue" / "lock").has_value();
    write_run_record(record, {}, executor);
  };
  fs::create_directories(out_);
  spill(record, "{\"mine\": 1}");
  const auto go = [&] {
    Executor(made, folders_for_run(out_), {.resources = {1, 1}, .record_file = record, .finished = finished}, *progress)
        .run({});
  };
  const Error error = expect_error(go);
  EXPECT_EQ(error.code(), ErrorCode::kOutput);
  EXPECT_THAT(error.what(), HasSubstr("run.json"));
  EXPECT_EQ(slurp(record), "{\"mine\": 1}");
  fs::remove(record);
  go();
  EXPECT_TRUE(locked);
  EXPECT_NO_THROW(go());  // its own
}

TEST_F(ExecutorTest, AFailureToWriteTheRecordDoesNotHideTheError) {
  const std::unique_ptr<Progress> progress = make_progress(ProgressStyle::kOff);
  line_.embed->on_compute = [](std::uint64_t) { throw Error(ErrorCode::kModel, "damaged"); };
  const Graph made = graph();
  const auto finished = [](const Executor&, const Error*) { throw Error(ErrorCode::kOutput, "disk full"); };
  Executor executor(made, folders_for_run(out_), {.resources = {1, 1}, .finished = finished}, *progress);
  EXPECT_EQ(expect_error([&] { executor.run({}); }).code(), ErrorCode::kModel);
}

}  // namespace
}  // namespace vtissue::pipeline
