#include "cli/name_maps.h"

#include <spdlog/fmt/ranges.h>

#include <algorithm>

#include "cli/yaml_json.h"
#include "core/error.h"
#include "models/checkpoint/name_map.h"

namespace vtissue::cli {

namespace {

constexpr std::string_view kModels = "models.";

}  // namespace

models::LoadOptions name_map_option(const std::filesystem::path& file) {
  if (file.empty()) return {};
  const nlohmann::json map = read_yaml(file);
  try {
    models::parse_name_map(map);
  } catch (Error& error) {
    error.add("{}", file.string());
    throw;
  }
  return {.name_map = map.dump(), .name_map_origin = file.string()};
}

std::map<std::string, models::LoadOptions> name_map_options(const std::vector<std::string>& assignments,
                                                            const pipeline::ConfigSchema& schema) {
  std::vector<std::string> roles;
  for (const pipeline::ConfigKey& key : schema.keys()) {
    if (key.or_name && key.name.starts_with(kModels)) roles.push_back(key.name.substr(kModels.size()));
  }
  std::map<std::string, models::LoadOptions> options;
  for (const std::string& assignment : assignments) {
    const std::size_t equals = assignment.find('=');
    const std::string role = assignment.substr(0, equals);
    if (equals == std::string::npos || equals + 1 == assignment.size() ||
        std::ranges::find(roles, role) == roles.end()) {
      throw Error(ErrorCode::kUsage,
                  "--name-map {}: expected a model and its file, such as stmdit=map.yaml; models are {}", assignment,
                  fmt::join(roles, ", "));
    }
    if (!options.emplace(role, name_map_option(assignment.substr(equals + 1))).second) {
      throw Error(ErrorCode::kUsage, "--name-map {}: {} has one already", assignment, role);
    }
  }
  return options;
}

}  // namespace vtissue::cli
