#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "models/engines.h"
#include "pipeline/config.h"

namespace vtissue::cli {

/// A name map file (docs/weights.md), YAML, as load() takes it; an empty path gives no map. Throws Error kUsage naming
/// the file if it cannot be read or is no name map.
models::LoadOptions name_map_option(const std::filesystem::path& file);

/// The values of --name-map, "<role>=<file>", by role: "encoder" for the key models.encoder. Throws Error kUsage for a
/// role that is no model of the configuration's, or one named twice, and as name_map_option().
std::map<std::string, models::LoadOptions> name_map_options(const std::vector<std::string>& assignments,
                                                            const pipeline::ConfigSchema& schema);

}  // namespace vtissue::cli
