#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace vtissue::pipeline {

/// Told how a run gets on. Thread-safe.
class Progress {
 public:
  virtual ~Progress() = default;
  virtual void stage_started(std::string_view stage, std::int64_t total_units, std::string_view unit) = 0;
  virtual void advanced(std::string_view stage, std::int64_t units_done) = 0;
  virtual void stage_finished(std::string_view stage, std::string_view outcome) = 0;
};

enum class ProgressStyle { kBar, kLines, kJsonLines, kOff };

/// kBar redraws one line a stage on stderr (a terminal), kLines writes lines of text now and then (a file),
/// kJsonLines one JSON object a line.
std::unique_ptr<Progress> make_progress(ProgressStyle style);

}  // namespace vtissue::pipeline
