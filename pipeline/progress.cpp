#include "pipeline/progress.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "pipeline/progress_styles.h"

namespace vtissue::pipeline {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;
using std::chrono::milliseconds;

class NoProgress : public Progress {
 public:
  void stage_started(std::string_view, std::int64_t, std::string_view) override {}
  void advanced(std::string_view, std::int64_t) override {}
  void stage_finished(std::string_view, std::string_view) override {}
};

double seconds_between(TimePoint from, TimePoint to) { return std::chrono::duration<double>(to - from).count(); }

/// Of a JSON line: milliseconds are enough.
double rounded(double value) { return std::round(value * 1000) / 1000; }

/// "1:02:03" or "2:03".
std::string clock_text(double in_seconds) {
  const auto whole = static_cast<std::int64_t>(in_seconds + 0.5);
  if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

StageProgress started_now(std::int64_t total, std::string_view unit, TimePoint now) {
  StageProgress progress;
  progress.total = total;
  progress.unit = unit;
  progress.started = progress.last_shown = now;
  progress.recent.emplace_back(now, 0);
  return progress;
}

double fraction_done(const StageProgress& progress) {
  if (progress.total <= 0) return 0;
  return std::clamp(static_cast<double>(progress.done) / static_cast<double>(progress.total), 0., 1.);
}

/// What is left of a stage once it has ended.
std::string finish_line(std::string_view stage, std::string_view outcome, const StageProgress* progress,
                        TimePoint now) {
  std::string line = fmt::format("{:<12} {}", stage, outcome);
  if (progress != nullptr) {
    line += fmt::format("  {}/{} {}  {}", progress->done, progress->total, progress->unit,
                        clock_text(seconds_between(progress->started, now)));
  }
  return line;
}

}  // namespace

void StageProgress::advance(TimePoint now, std::int64_t units_done) {
  done = units_done;
  // One sample a second is enough for a rate over half a minute.
  if (recent.empty() || now - recent.back().first >= std::chrono::seconds(1)) recent.emplace_back(now, units_done);
  while (recent.size() > 2 && now - recent.front().first > std::chrono::seconds(30)) recent.pop_front();
}

std::optional<double> StageProgress::rate() const {
  if (recent.size() < 2) return std::nullopt;
  const auto& [first_time, first_done] = recent.front();
  const auto& [last_time, last_done] = recent.back();
  if (last_done <= first_done) return std::nullopt;
  return static_cast<double>(last_done - first_done) / seconds_between(first_time, last_time);
}

std::string figures(const StageProgress& progress) {
  std::string text =
      fmt::format("{:3.0f} %  {}/{} {}", fraction_done(progress) * 100, progress.done, progress.total, progress.unit);
  if (const std::optional<double> rate = progress.rate()) {
    const double left = static_cast<double>(std::max<std::int64_t>(0, progress.total - progress.done)) / *rate;
    text += fmt::format("  {:.3g}/s  {} left", *rate, clock_text(left));
  }
  return text;
}

std::string bar_line(std::string_view stage, const StageProgress& progress, int width) {
  const double fraction = fraction_done(progress);
  const std::string figures = pipeline::figures(progress);
  const std::string head = fmt::format("{:<12}", stage);
  // One column stays free: a full line would wrap, and then the redrawing counts wrong.
  const int columns = std::max(0, width - 1);
  const int room = columns - static_cast<int>(head.size() + figures.size()) - 4;
  std::string line = head;
  if (room >= 5) {
    const int bar = std::min(room, 40);
    const int filled = static_cast<int>(fraction * bar);
    line += "[" + std::string(static_cast<std::size_t>(filled), '#') +
            std::string(static_cast<std::size_t>(bar - filled), '.') + "]";
  }
  line += " " + figures;
  return line.substr(0, static_cast<std::size_t>(columns));
}

BarProgress::BarProgress(Terminal& terminal, std::function<int()> width, ProgressClock clock)
    : terminal_(terminal), width_(std::move(width)), clock_(std::move(clock)) {}

BarProgress::~BarProgress() { terminal_.set_status({}); }

void BarProgress::stage_started(std::string_view stage, std::int64_t total_units, std::string_view unit) {
  std::lock_guard lock(mutex_);
  stages_[std::string(stage)] = started_now(total_units, unit, clock_());
  redraw();
}

void BarProgress::advanced(std::string_view stage, std::int64_t units_done) {
  std::lock_guard lock(mutex_);
  const auto found = stages_.find(stage);
  if (found == stages_.end()) return;
  const TimePoint now = clock_();
  found->second.advance(now, units_done);
  if (now - last_drawn_ >= milliseconds(100)) redraw();
}

void BarProgress::stage_finished(std::string_view stage, std::string_view outcome) {
  std::lock_guard lock(mutex_);
  const auto found = stages_.find(stage);
  const std::string line = finish_line(stage, outcome, found == stages_.end() ? nullptr : &found->second, clock_());
  if (found != stages_.end()) stages_.erase(found);
  redraw();
  terminal_.print(line);
}

void BarProgress::redraw() {
  last_drawn_ = clock_();
  std::vector<std::string> lines;
  const int width = width_();
  for (const auto& [stage, progress] : stages_) lines.push_back(bar_line(stage, progress, width));
  terminal_.set_status(std::move(lines));
}

LineProgress::LineProgress(Terminal& terminal, ProgressClock clock) : terminal_(terminal), clock_(std::move(clock)) {}

void LineProgress::stage_started(std::string_view stage, std::int64_t total_units, std::string_view unit) {
  std::lock_guard lock(mutex_);
  stages_[std::string(stage)] = started_now(total_units, unit, clock_());
  terminal_.print(fmt::format("{:<12} starts: {} {}", stage, total_units, unit));
}

void LineProgress::advanced(std::string_view stage, std::int64_t units_done) {
  std::lock_guard lock(mutex_);
  const auto found = stages_.find(stage);
  if (found == stages_.end()) return;
  StageProgress& progress = found->second;
  const TimePoint now = clock_();
  progress.advance(now, units_done);
  if (now - progress.last_shown < std::chrono::seconds(30)) return;
  progress.last_shown = now;
  terminal_.print(fmt::format("{:<12} {}", stage, figures(progress)));
}

void LineProgress::stage_finished(std::string_view stage, std::string_view outcome) {
  std::lock_guard lock(mutex_);
  const auto found = stages_.find(stage);
  terminal_.print(finish_line(stage, outcome, found == stages_.end() ? nullptr : &found->second, clock_()));
  if (found != stages_.end()) stages_.erase(found);
}

JsonProgress::JsonProgress(Terminal& terminal, ProgressClock clock) : terminal_(terminal), clock_(std::move(clock)) {}

void JsonProgress::stage_started(std::string_view stage, std::int64_t total_units, std::string_view unit) {
  std::lock_guard lock(mutex_);
  stages_[std::string(stage)] = started_now(total_units, unit, clock_());
  const nlohmann::ordered_json line = {{"event", "start"}, {"stage", stage}, {"total", total_units}, {"unit", unit}};
  terminal_.print(line.dump());
}

void JsonProgress::advanced(std::string_view stage, std::int64_t units_done) {
  std::lock_guard lock(mutex_);
  const auto found = stages_.find(stage);
  if (found == stages_.end()) return;
  StageProgress& progress = found->second;
  const TimePoint now = clock_();
  progress.advance(now, units_done);
  if (now - progress.last_shown < std::chrono::seconds(1)) return;
  progress.last_shown = now;
  const nlohmann::ordered_json line = {
      {"event", "progress"},   {"stage", stage},
      {"done", progress.done}, {"total", progress.total},
      {"unit", progress.unit}, {"elapsed_s", rounded(seconds_between(progress.started, now))}};
  terminal_.print(line.dump());
}

void JsonProgress::stage_finished(std::string_view stage, std::string_view outcome) {
  std::lock_guard lock(mutex_);
  nlohmann::ordered_json line = {{"event", "finish"}, {"stage", stage}, {"outcome", outcome}};
  if (const auto found = stages_.find(stage); found != stages_.end()) {
    line["done"] = found->second.done;
    line["total"] = found->second.total;
    line["unit"] = found->second.unit;
    line["elapsed_s"] = rounded(seconds_between(found->second.started, clock_()));
    stages_.erase(found);
  }
  terminal_.print(line.dump());
}

std::unique_ptr<Progress> make_progress(ProgressStyle style) {
  const ProgressClock clock = [] { return std::chrono::steady_clock::now(); };
  switch (style) {
    case ProgressStyle::kBar:
      return std::make_unique<BarProgress>(Terminal::standard_error(), terminal_width, clock);
    case ProgressStyle::kLines:
      return std::make_unique<LineProgress>(Terminal::standard_error(), clock);
    case ProgressStyle::kJsonLines:
      return std::make_unique<JsonProgress>(Terminal::standard_error(), clock);
    case ProgressStyle::kOff:
      break;
  }
  return std::make_unique<NoProgress>();
}

}  // namespace vtissue::pipeline
