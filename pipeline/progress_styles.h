#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "pipeline/progress.h"
#include "pipeline/terminal.h"

namespace vtissue::pipeline {

/// The clock is passed in so that throttling and rates can be tested without waiting.
using ProgressClock = std::function<std::chrono::steady_clock::time_point()>;

/// What is known of a stage under way.
struct StageProgress {
  std::int64_t done = 0;
  std::int64_t total = 0;
  std::string unit;
  std::chrono::steady_clock::time_point started;
  std::chrono::steady_clock::time_point last_shown;
  /// (time, done) of the last half minute: chunks that an earlier run committed go by in no time and
  /// must not make the rest look near.
  std::deque<std::pair<std::chrono::steady_clock::time_point, std::int64_t>> recent;

  void advance(std::chrono::steady_clock::time_point now, std::int64_t units_done);
  /// Units a second over `recent`; nothing before two samples are a second apart.
  std::optional<double> rate() const;
};

/// "52 %  100/192 tiles  3.1/s  0:30 left".
std::string figures(const StageProgress& progress);

/// "tile   [#####.....]  52 %  100/192 tiles  3.1/s  0:30 left", never wider than `width` columns.
std::string bar_line(std::string_view stage, const StageProgress& progress, int width);

/// Redrawn at most ten times a second; a stage that ends leaves one line.
class BarProgress : public Progress {
 public:
  BarProgress(Terminal& terminal, std::function<int()> width, ProgressClock clock);
  ~BarProgress() override;
  void stage_started(std::string_view stage, std::int64_t total_units, std::string_view unit) override;
  void advanced(std::string_view stage, std::int64_t units_done) override;
  void stage_finished(std::string_view stage, std::string_view outcome) override;

 private:
  void redraw();
  Terminal& terminal_;
  std::function<int()> width_;
  ProgressClock clock_;
  std::mutex mutex_;
  std::map<std::string, StageProgress, std::less<>> stages_;
  std::chrono::steady_clock::time_point last_drawn_{};
};

/// A line of text where a stage starts and ends, and at most every half minute between: for a log that people read.
class LineProgress : public Progress {
 public:
  LineProgress(Terminal& terminal, ProgressClock clock);
  void stage_started(std::string_view stage, std::int64_t total_units, std::string_view unit) override;
  void advanced(std::string_view stage, std::int64_t units_done) override;
  void stage_finished(std::string_view stage, std::string_view outcome) override;

 private:
  Terminal& terminal_;
  ProgressClock clock_;
  std::mutex mutex_;
  std::map<std::string, StageProgress, std::less<>> stages_;
};

/// One object a line: {"event":"start"|"progress"|"finish","stage":…}. "progress" at
/// most once a second and stage.
class JsonProgress : public Progress {
 public:
  JsonProgress(Terminal& terminal, ProgressClock clock);
  void stage_started(std::string_view stage, std::int64_t total_units, std::string_view unit) override;
  void advanced(std::string_view stage, std::int64_t units_done) override;
  void stage_finished(std::string_view stage, std::string_view outcome) override;

 private:
  Terminal& terminal_;
  ProgressClock clock_;
  std::mutex mutex_;
  std::map<std::string, StageProgress, std::less<>> stages_;
};

}  // namespace vtissue::pipeline
