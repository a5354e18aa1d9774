#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

/// Checked reading of a model's config.json. All throw Error kModel naming key, value and what is allowed.
namespace vtissue::models {

/// `config[key]` as bool, number or string; `fallback` where the key is missing, an error if there is none.
template <typename T>
T json_value(const nlohmann::json& config, const std::string& key, std::optional<T> fallback = std::nullopt) {
  const auto it = config.find(key);
  if (it == config.end()) {
    if (fallback) return *fallback;
    throw Error(ErrorCode::kModel, "config: \"{}\" is missing", key);
  }
  const bool fits = std::is_same_v<T, bool>          ? it->is_boolean()
                    : std::is_integral_v<T>          ? it->is_number_integer()
                    : std::is_arithmetic_v<T>        ? it->is_number()
                    : std::is_same_v<T, std::string> ? it->is_string()
                                                     : it->is_array();
  if (!fits) throw Error(ErrorCode::kModel, "config: \"{}\" is {}, which is of the wrong type", key, it->dump());
  try {
    return it->get<T>();
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::kModel, "config: \"{}\" is {}: {}", key, it->dump(), e.what());
  }
}

/// An integer in [low, high].
inline int json_int(const nlohmann::json& config, const std::string& key, int low, int high,
                    std::optional<int> fallback = std::nullopt) {
  const auto value = json_value<std::int64_t>(config, key, fallback);
  if (value < low || value > high) {
    throw Error(ErrorCode::kModel, "config: \"{}\" is {}; expected {} to {}", key, value, low, high);
  }
  return static_cast<int>(value);
}

/// A number in [low, high].
inline double json_double(const nlohmann::json& config, const std::string& key, double low, double high,
                          std::optional<double> fallback = std::nullopt) {
  const double value = json_value<double>(config, key, fallback);
  if (!(value >= low && value <= high)) {
    throw Error(ErrorCode::kModel, "config: \"{}\" is {}; expected {} to {}", key, value, low, high);
  }
  return value;
}

/// Refuses `config[key]` other than `wanted`; a missing key is fine. For what a network of the family might have and
/// this one does not compute: it must not load and give wrong tiles.
inline void json_require(const nlohmann::json& config, const std::string& key, const nlohmann::json& wanted) {
  const auto found = config.find(key);
  if (found != config.end() && *found != wanted) {
    throw Error(ErrorCode::kModel, "config: \"{}\" is {}; only {} is supported", key, found->dump(), wanted.dump());
  }
}

/// The object `config[key]`, or an empty one.
inline nlohmann::json json_object(const nlohmann::json& config, const std::string& key) {
  const auto it = config.find(key);
  if (it == config.end() || it->is_null()) return nlohmann::json::object();
  if (!it->is_object()) throw Error(ErrorCode::kModel, "config: \"{}\" is {}; expected an object", key, it->dump());
  return *it;
}

}  // namespace vtissue::models
