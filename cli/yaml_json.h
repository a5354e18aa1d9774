#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace vtissue::cli {

/// A YAML file as JSON: null, true, false and numbers as such, everything else as text; quoted scalars stay texts.
/// Throws Error kUsage naming file and line if it cannot be read or is not YAML.
nlohmann::json read_yaml(const std::filesystem::path& path);

/// The same for a text; `name` is what messages call it.
nlohmann::json parse_yaml(std::string_view text, const std::filesystem::path& name);

}  // namespace vtissue::cli
