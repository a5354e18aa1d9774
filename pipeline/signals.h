#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>

namespace vtissue::pipeline {

/// Turns SIGINT, SIGTERM and the end of --max-time into a request to stop. A second signal ends the
/// process at once with exit code 130. One object at a time in a process (std::logic_error); the former
/// handlers come back when it is destroyed.
class StopOnSignal {
 public:
  /// Starts the watching thread. `max_time` counts from here.
  explicit StopOnSignal(std::optional<std::chrono::milliseconds> max_time = std::nullopt);
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

  std::stop_token token() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vtissue::pipeline
