#include "pipeline/run_record.h"

#include <cmath>
#include <ctime>
#include <fstream>

#include "core/atomic_file.h"

namespace vtissue::pipeline {
namespace {

using nlohmann::ordered_json;

std::string utc_text(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

double to_milliseconds_precision(double seconds) { return std::round(seconds * 1000) / 1000; }

ordered_json stage_entry(const StageOutcome& outcome) {
  ordered_json outputs = ordered_json::object();
  for (const auto& [port, digest] : outcome.outputs) outputs[port] = {{"sha256", digest.sha256}, {"size", digest.size}};
  return {{"name", outcome.name},         {"outcome", to_string(outcome.kind)},
          {"reasons", outcome.reasons},   {"fingerprint", outcome.fingerprint},
          {"inputs", outcome.inputs},     {"outputs", outputs},
          {"warnings", outcome.warnings}, {"report", outcome.reported}};
}

}  // namespace

ordered_json run_record(const RunInfo& info, const Executor& executor) {
  ordered_json stages = ordered_json::array();
  ordered_json wall = ordered_json::object();
  for (const StageOutcome& outcome : executor.outcomes()) {
    stages.push_back(stage_entry(outcome));
    wall[outcome.name] = to_milliseconds_precision(outcome.wall_seconds);
  }
  ordered_json inputs = ordered_json::object();
  for (const auto& [name, input] : executor.outside_inputs()) {
    inputs[name] = {{"name", input.path.filename().string()}, {"sha256", input.sha256}};
  }
  ordered_json record = {{"software", {{"name", "vtissue"}, {"version", info.software_version}}},
                         {"outcome", info.interrupted     ? "interrupted"
                                     : info.error.empty() ? "complete"
                                                          : "failed"}};
  if (!info.error.empty()) record["error"] = info.error;
  record["numerics"] = info.numerics;
  record["configuration"] = info.configuration;
  record["inputs"] = inputs;
  record["stages"] = stages;
  record["timing"] = {
      {"started", utc_text(info.started)},
      {"ended", utc_text(info.ended)},
      {"wall_seconds", to_milliseconds_precision(std::chrono::duration<double>(info.ended - info.started).count())},
      {"stage_seconds", wall}};
  return record;
}

bool is_run_record(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const nlohmann::json stored = nlohmann::json::parse(in, nullptr, false);
  if (!stored.is_object() || !stored.contains("software") || !stored.contains("stages")) return false;
  const nlohmann::json& software = stored.at("software");
  return software.is_object() && software.value("name", nlohmann::json()) == "vtissue";
}

void write_run_record(const std::filesystem::path& path, const RunInfo& info, const Executor& executor) {
  const std::string text = run_record(info, executor).dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  write_file_atomically(path, text + "\n");
}

}  // namespace vtissue::pipeline
