#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/content_digest.h"
#include "pipeline/stage.h"

namespace vtissue::pipeline {

/// Input port → sha256 of what is bound to it.
using InputDigests = std::map<std::string, std::string, std::less<>>;

/// sha256 of the canonical JSON (sorted keys, no spaces) of stage name, format version, identity and
/// input digests: everything that decides the outputs' bytes.
std::string fingerprint(const Stage& stage, const InputDigests& inputs);

/// `<state>/<node>.json`: how the outputs that lie there came about.
struct ArtifactRecord {
  std::string stage;
  int stage_format = 0;
  std::string fingerprint;
  nlohmann::json identity;
  InputDigests inputs;
  std::map<std::string, ContentDigest, std::less<>> outputs;
  /// False from just before the first output is renamed until all are: the outputs are ours, but a run
  /// was killed between two of them.
  bool complete = false;
  std::vector<std::string> warnings;  ///< kept for the run.json of a later run that is up to date
  nlohmann::json reported = nlohmann::json::object();
};

std::filesystem::path record_path(const std::filesystem::path& state_folder, std::string_view node);

/// Nothing if there is none. One that cannot be understood counts as none, with a warning in the log.
std::optional<ArtifactRecord> read_record(const std::filesystem::path& path);

/// Throws Error kOutput.
void write_record(const std::filesystem::path& path, const ArtifactRecord& record);

/// What differs between two JSON objects, one line a value: "tile.size_px changed 128 → 256". Names are
/// dotted and start with `prefix`.
std::vector<std::string> describe_changes(std::string_view prefix, const nlohmann::json& before,
                                          const nlohmann::json& after);

}  // namespace vtissue::pipeline
