// What a process leaves behind when it is killed, runs into a full disk or gets a signal.

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <thread>

#include "child_process.h"
#include "fixtures.h"
#include "pipeline/lock.h"
#include "pipeline/signals.h"

namespace vtissue::pipeline {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::ChildProcess;
using testing::execute;
using testing::expect_error;
using testing::FakeLine;
using ::testing::HasSubstr;
using testing::results_in;
using testing::ScratchFolder;
using testing::spill;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// Waits for what another process does; a bound only against hanging.
template <typename Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

/// The child's program: the line in the folder VTISSUE_CHILD_OUT, a little slowed; exits with the code.
TEST(CrashChild, DISABLED_RunsTheLine) {
  const fs::path out = variable("VTISSUE_CHILD_OUT");
  if (out.empty()) GTEST_SKIP() << "only run by other tests";
  FakeLine line;
  const auto slowly = [](std::uint64_t) { std::this_thread::sleep_for(2ms); };
  line.tile->on_compute = line.embed->on_compute = line.stitch->on_compute = slowly;
  if (variable("VTISSUE_CHILD_MODE") == "file size limit") {
    // Like a disk that is full: writes fail with an error number instead of a signal.
    ::signal(SIGXFSZ, SIG_IGN);
    line.tile->on_layout = [](RunContext&) {
      const rlimit limit{64, 64};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    };
  }
  std::optional<StopOnSignal> stop;
  if (variable("VTISSUE_CHILD_MODE") == "signals") {
    stop.emplace();
    line.tile->chunks = 1'000'000;
  }
  if (variable("VTISSUE_CHILD_MODE") == "max time") {
    stop.emplace(50ms);
    line.tile->chunks = 1'000'000;
  }
  if (variable("VTISSUE_CHILD_MODE") == "deaf") {
    stop.emplace();
    line.tile->on_compute = [](std::uint64_t) { std::this_thread::sleep_for(1h); };
  }
  try {
    execute(line.graph(out.parent_path() / "slide", out), out, {.resources = {2, 2}},
            stop ? stop->token() : std::stop_token());
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::exit(error.exit_code());
  }
  std::exit(0);
}

TEST(CrashChild, DISABLED_HoldsTheLock) {
  const fs::path out = variable("VTISSUE_CHILD_OUT");
  if (out.empty()) GTEST_SKIP() << "only run by other tests";
  const FolderLock lock(out, out / ".vtissue" / "lock");
  spill(out / "locked", "");
  std::this_thread::sleep_for(1h);
}

class Crash : public ::testing::Test {
 protected:
  Crash() {
    spill(slide_, "pixels");
    ScratchFolder other;
    spill(other / "slide", "pixels");
    execute(FakeLine().graph(other / "slide", other / "out"), other / "out");
    expected_ = results_in(other / "out");
  }
  std::map<std::string, std::string> environment(const std::string& mode = "") const {
    return {{"VTISSUE_CHILD_OUT", out_.string()}, {"VTISSUE_CHILD_MODE", mode}};
  }
  bool has_parts() const {
    std::error_code absent;
    for (fs::recursive_directory_iterator it(out_ / ".vtissue" / "work", absent), end; !absent && it != end;
         it.increment(absent)) {
      if (it->path().extension() == ".part") return true;
    }
    return false;
  }
  /// No output is there in part: each is absent or as an undisturbed run makes it.
  void expect_whole_or_absent() const {
    for (const auto& [name, content] : results_in(out_)) {
      if (name.find(".partial") != std::string::npos || name.find(".old") != std::string::npos) continue;
      ASSERT_TRUE(expected_.contains(name)) << name;
      EXPECT_EQ(content, expected_.at(name)) << name;
    }
  }

  ScratchFolder scratch_;
  fs::path slide_ = scratch_ / "slide";
  fs::path out_ = scratch_ / "out";
  std::map<std::string, std::string> expected_;
};

TEST_F(Crash, KilledAtAnyMomentTheResultIsThatOfAnUndisturbedRun) {
  const unsigned seed =
      variable("VTISSUE_TEST_SEED").empty() ? std::random_device()() : std::stoul(variable("VTISSUE_TEST_SEED"));
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE("VTISSUE_TEST_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);
  int kills = 0;
  for (int attempt = 0; attempt < 60; ++attempt) {
    ChildProcess child("CrashChild.DISABLED_RunsTheLine", environment());
    // A few milliseconds longer each time, so that the line ends in the end.
    const auto delay = std::chrono::milliseconds(random() % static_cast<unsigned>(20 + 3 * attempt));
    std::this_thread::sleep_for(delay);
    if (!child.running()) {
      ASSERT_EQ(child.wait(), 0);
      break;
    }
    child.send(SIGKILL);
    child.wait();
    ++kills;
    expect_whole_or_absent();
  }
  ChildProcess last("CrashChild.DISABLED_RunsTheLine", environment());
  ASSERT_EQ(last.wait(), 0);
  EXPECT_GT(kills, 0);
  EXPECT_EQ(results_in(out_), expected_);
}

TEST_F(Crash, ASignalEndsTheRunWith130AndItCanGoOn) {
  for (const int signal : {SIGTERM, SIGINT}) {
    ChildProcess child("CrashChild.DISABLED_RunsTheLine", environment("signals"));
    ASSERT_TRUE(eventually([&] { return has_parts(); }));
    child.send(signal);
    EXPECT_EQ(child.wait(), 130);
    EXPECT_FALSE(fs::exists(out_ / "tiles"));
  }
  ChildProcess again("CrashChild.DISABLED_RunsTheLine", environment());
  EXPECT_EQ(again.wait(), 0);
  EXPECT_EQ(results_in(out_), expected_);
}

TEST_F(Crash, MaxTimeEndsTheRunWith130) {
  ChildProcess child("CrashChild.DISABLED_RunsTheLine", environment("max time"));
  EXPECT_EQ(child.wait(), 130);
}

TEST_F(Crash, ASecondSignalQuitsAtOnce) {
  ChildProcess child("CrashChild.DISABLED_RunsTheLine", environment("deaf"));
  ASSERT_TRUE(eventually([&] { return fs::exists(out_ / ".vtissue" / "lock"); }));
  // Two signals of one kind may merge while the first is pending, so they are of two kinds; which comes
  // before the handlers are set must not matter either: lock and handlers are there before the chunk.
  child.send(SIGTERM);
  ASSERT_TRUE(eventually([&] {
    child.send(SIGINT);
    return !child.running();
  }));
  EXPECT_EQ(child.wait(), 130);
}

TEST_F(Crash, AFullDiskIsAnOutputErrorAndTheRunCanGoOn) {
  ChildProcess child("CrashChild.DISABLED_RunsTheLine", environment("file size limit"));
  EXPECT_EQ(child.wait(), 6);
  EXPECT_TRUE(has_parts());
  expect_whole_or_absent();
  ChildProcess again("CrashChild.DISABLED_RunsTheLine", environment());
  EXPECT_EQ(again.wait(), 0);
  EXPECT_EQ(results_in(out_), expected_);
}

TEST_F(Crash, AFolderInUseIsRefusedAndNamesTheOtherRun) {
  fs::create_directories(out_);
  ChildProcess child("CrashChild.DISABLED_HoldsTheLock", environment());
  ASSERT_TRUE(eventually([&] { return fs::exists(out_ / "locked"); }));
  const Error error = expect_error([&] { execute(FakeLine().graph(slide_, out_), out_); });
  EXPECT_EQ(error.code(), ErrorCode::kOutput);
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr(out_.string() + ": another vtissue run (pid " + std::to_string(child.pid())),
                    HasSubstr("on host "), HasSubstr("is using this folder")));
  child.send(SIGKILL);
  child.wait();
  fs::remove(out_ / "locked");
  execute(FakeLine().graph(slide_, out_), out_);  // the lock went with its holder
  EXPECT_EQ(results_in(out_), expected_);
}

TEST(FolderLock, IsFreeAgainAfterItsHolder) {
  ScratchFolder scratch;
  const fs::path file = scratch / ".vtissue" / "lock";
  {
    const FolderLock lock(scratch.path(), file);
    EXPECT_EQ(expect_error([&] { FolderLock second(scratch.path(), file); }).code(), ErrorCode::kOutput);
    EXPECT_THAT(testing::slurp(file), HasSubstr("\"pid\":" + std::to_string(::getpid())));
  }
  EXPECT_EQ(testing::slurp(file), "");
  EXPECT_NO_THROW(FolderLock(scratch.path(), file));
  spill(file, "{\"pid\": 1, \"host\": \"elsewhere\"}");  // as a killed run leaves it
  EXPECT_NO_THROW(FolderLock(scratch.path(), file));
  spill(file, "no JSON");
  EXPECT_NO_THROW(FolderLock(scratch.path(), file));
}

TEST(StopOnSignal, AsksForAStopAndRestoresTheHandlers) {
  struct sigaction before {};
  ::sigaction(SIGTERM, nullptr, &before);
  {
    const StopOnSignal stop;
    EXPECT_THROW(StopOnSignal second, std::logic_error);
    EXPECT_FALSE(stop.token().stop_requested());
    ::raise(SIGTERM);
    EXPECT_TRUE(eventually([&] { return stop.token().stop_requested(); }));
  }
  struct sigaction after {};
  ::sigaction(SIGTERM, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
  const StopOnSignal timed(1ms);
  EXPECT_TRUE(eventually([&] { return timed.token().stop_requested(); }));
}

}  // namespace
}  // namespace vtissue::pipeline
