#pragma once

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "pipeline/executor.h"

namespace vtissue::pipeline {

/// What `run.json` says besides the stages.
struct RunInfo {
  std::string software_version;
  nlohmann::json configuration;  ///< Config::resolved()
  nlohmann::json numerics;       ///< numerics class, from the caller
  std::string error;             ///< what() of the Error that ended the run; empty: none
  bool interrupted = false;
  std::chrono::system_clock::time_point started;
  std::chrono::system_clock::time_point ended;
};

/// For people and for the report; unlike the other outputs not equal from run to run. All times are
/// under "timing". Of outside inputs it has names without folders.
nlohmann::ordered_json run_record(const RunInfo& info, const Executor& executor);

/// Whether the file is there and says that it is a run's record: then another run may replace it.
bool is_run_record(const std::filesystem::path& path);

/// Writes it atomically. Throws Error kOutput.
void write_run_record(const std::filesystem::path& path, const RunInfo& info, const Executor& executor);

}  // namespace vtissue::pipeline
