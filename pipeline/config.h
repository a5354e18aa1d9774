#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace vtissue::pipeline {

enum class ValueType { kBool, kInteger, kNumber, kString, kPath, kNumberList, kStringList };

/// One documented key. Every default is written down here and nowhere else.
struct ConfigKey {
  std::string name;  ///< dotted: "tile.size_px"
  ValueType type;
  nlohmann::json default_value;            ///< null: not set, allowed
  std::string description;                 ///< with units and range
  std::optional<double> minimum, maximum;  ///< inclusive, for numbers
  std::vector<std::string> choices;        ///< for strings; empty: any
  bool or_name = false;                    ///< a path that may be the name of something known instead: kept as it is
};

/// Keys by section. The stages contribute theirs (stages/*/…_config.h); pipeline/ knows none of them.
class ConfigSchema {
 public:
  void add(ConfigKey key);
  void add(std::vector<ConfigKey> keys);
  const std::vector<ConfigKey>& keys() const { return keys_; }
  const ConfigKey* find(std::string_view name) const;
  /// The known name with the smallest edit distance.
  std::string nearest(std::string_view name) const;
  /// docs/configuration.md; a test compares.
  std::string to_markdown() const;

 private:
  std::vector<ConfigKey> keys_;
};

/// A configuration checked against a schema, every key resolved to a value.
class Config {
 public:
  /// Relative paths (kPath) are resolved against the file's folder. Throws Error kUsage that names
  /// file, line, key, value, what is expected and, for an unknown key, the nearest known one.
  static Config load(const std::filesystem::path& yaml, const ConfigSchema& schema);
  /// All defaults.
  static Config defaults(const ConfigSchema& schema);

  /// `--set a.b=v`: the value is read as YAML; paths are relative to the current folder.
  void set(std::string_view assignment);
  void set_value(std::string_view name, nlohmann::json value);

  bool has(std::string_view name) const;  ///< set, or with a default that is not null
  template <typename T>
  T get(std::string_view name) const {
    return value(name).get<T>();
  }
  template <typename T>
  std::optional<T> get_optional(std::string_view name) const {
    const nlohmann::json& v = value(name);
    return v.is_null() ? std::nullopt : std::optional<T>(v.get<T>());
  }

  /// Nested by section, keys sorted: what run.json and the provenance store.
  nlohmann::json resolved() const;
  const ConfigSchema& schema() const { return *schema_; }

 private:
  explicit Config(const ConfigSchema& schema);
  const nlohmann::json& value(std::string_view name) const;  ///< throws std::logic_error for a name not in the schema
  const ConfigSchema* schema_;
  std::map<std::string, nlohmann::json, std::less<>> values_;
};

}  // namespace vtissue::pipeline
