#pragma once

#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>
#include <string>

#include "pipeline/config.h"

namespace vtissue::pipeline {

/// "an integer from 16 to 1024": what a message says is expected, and the documentation's type column.
std::string describe_expected(const ConfigKey& key);

/// "16 to 1024", "at least 0", "f32, bf16" or "".
std::string describe_range(const ConfigKey& key);

/// A YAML node as the key's type; null where the key may be unset. Throws Error kUsage that starts with
/// `where` ("run.yaml:12" or "--set tile.size_px=x").
nlohmann::json parse_value(const ConfigKey& key, const YAML::Node& node, const std::string& where);

/// A JSON value checked against type, range and choices; integers become numbers where the key is one.
nlohmann::json check_value(const ConfigKey& key, nlohmann::json value, const std::string& where);

}  // namespace vtissue::pipeline
