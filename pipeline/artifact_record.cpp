#include "pipeline/artifact_record.h"

#include <spdlog/spdlog.h>

#include <fstream>
#include <set>

#include "core/atomic_file.h"
#include "core/hash.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int kRecordFormat = 1;

json to_json(const ContentDigest& digest) {
  json value = {{"sha256", digest.sha256}, {"size", digest.size}};
  if (!digest.listing_sha256.empty()) value["listing_sha256"] = digest.listing_sha256;
  return value;
}

void flatten(const std::string& name, const json& value, std::map<std::string, json>& out) {
  if (value.is_object() && (name.empty() || !value.empty())) {
    for (const auto& [key, item] : value.items()) flatten(name.empty() ? key : name + "." + key, item, out);
  } else {
    out[name] = value;
  }
}

/// Short enough for a line: digests and lists are cut.
std::string shown(const json& value) {
  constexpr std::size_t kLongest = 40;
  std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  if (text.size() <= kLongest) return text;
  std::size_t cut = 12;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;  // not inside a UTF-8 character
  return text.substr(0, cut) + "…";
}

}  // namespace

std::string fingerprint(const Stage& stage, const InputDigests& inputs) {
  const json canonical = {
      {"stage", stage.name()}, {"format", stage.format_version()}, {"identity", stage.identity()}, {"inputs", inputs}};
  return sha256(canonical.dump());
}

fs::path record_path(const fs::path& state_folder, std::string_view node) {
  return state_folder / (std::string(node) + ".json");
}

std::optional<ArtifactRecord> read_record(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  try {
    const json stored = json::parse(in);
    if (stored.at("format") != kRecordFormat) return std::nullopt;
    ArtifactRecord record;
    record.stage = stored.at("stage");
    record.stage_format = stored.at("stage_format");
    record.fingerprint = stored.at("fingerprint");
    record.identity = stored.at("identity");
    record.inputs = stored.at("inputs").get<InputDigests>();
    for (const auto& [port, output] : stored.at("outputs").items()) {
      record.outputs[port] = {output.at("sha256"), output.at("size"), output.value("listing_sha256", "")};
    }
    record.complete = stored.at("complete");
    record.warnings = stored.at("warnings");
    record.reported = stored.at("reported");
    return record;
  } catch (const json::exception& error) {
    spdlog::warn("{}: not usable as a stage's record ({}); taking the stage as never run", path.string(), error.what());
    return std::nullopt;
  }
}

void write_record(const fs::path& path, const ArtifactRecord& record) {
  json outputs = json::object();
  for (const auto& [port, digest] : record.outputs) outputs[port] = to_json(digest);
  const json stored = {{"format", kRecordFormat},
                       {"stage", record.stage},
                       {"stage_format", record.stage_format},
                       {"fingerprint", record.fingerprint},
                       {"identity", record.identity},
                       {"inputs", record.inputs},
                       {"outputs", outputs},
                       {"complete", record.complete},
                       {"warnings", record.warnings},
                       {"reported", record.reported}};
  write_file_atomically(path, stored.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

std::vector<std::string> describe_changes(std::string_view prefix, const json& before, const json& after) {
  std::map<std::string, json> old_values, new_values;
  flatten({}, before, old_values);
  flatten({}, after, new_values);
  std::set<std::string> names;
  for (const auto& [name, value] : old_values) names.insert(name);
  for (const auto& [name, value] : new_values) names.insert(name);
  const std::string section = std::string(prefix) + ".";
  std::vector<std::string> changes;
  for (const std::string& name : names) {
    const std::string full = name.starts_with(section) ? name : section + name;
    const auto old_value = old_values.find(name);
    const auto new_value = new_values.find(name);
    if (old_value == old_values.end()) {
      changes.push_back(fmt::format("{} is new: {}", full, shown(new_value->second)));
    } else if (new_value == new_values.end()) {
      changes.push_back(fmt::format("{} is gone, was {}", full, shown(old_value->second)));
    } else if (old_value->second != new_value->second) {
      changes.push_back(fmt::format("{} changed {} → {}", full, shown(old_value->second), shown(new_value->second)));
    }
  }
  return changes;
}

}  // namespace vtissue::pipeline
