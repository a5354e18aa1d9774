#include "pipeline/config.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>

#include "pipeline/config_value.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

[[noreturn]] void throw_unknown(const ConfigSchema& schema, const std::string& where, const std::string& name) {
  throw Error(ErrorCode::kUsage, "{}: unknown key '{}'; did you mean '{}'?", where, name, schema.nearest(name));
}

/// Fills values from a YAML tree: sections become the dots of the names.
class YamlReader {
 public:
  YamlReader(const fs::path& path, const ConfigSchema& schema, std::map<std::string, json, std::less<>>& values)
      : path_(path), schema_(schema), values_(values) {}

  void read() {
    errno = 0;
    std::ifstream in(path_, std::ios::binary);
    std::error_code unknown;
    if (!in || fs::is_directory(path_, unknown)) {
      throw Error(ErrorCode::kUsage, "{}: cannot be read: {}", path_.string(), std::strerror(in ? EISDIR : errno));
    }
    const std::string text(std::istreambuf_iterator<char>(in), {});
    YAML::Node root;
    try {
      root = YAML::Load(text);
    } catch (const YAML::ParserException& error) {
      throw Error(ErrorCode::kUsage, "{}: not YAML: {}", location(error.mark), error.msg);
    }
    if (root.IsNull()) return;
    if (!root.IsMap()) {
      throw Error(ErrorCode::kUsage, "{}: expected sections of 'key: value' lines", location(root.Mark()));
    }
    read_section(root, "");
  }

 private:
  std::string location(const YAML::Mark& mark) const {
    return mark.is_null() ? path_.string() : fmt::format("{}:{}", path_.string(), mark.line + 1);
  }

  void read_section(const YAML::Node& section, const std::string& prefix) {
    std::map<std::string, int> lines;  // yaml-cpp keeps both of two equal keys
    for (const auto& entry : section) {
      const std::string where = location(entry.first.Mark());
      if (!entry.first.IsScalar()) throw Error(ErrorCode::kUsage, "{}: a key must be a text", where);
      const std::string name = prefix + entry.first.Scalar();
      const auto [other, is_new] = lines.emplace(name, entry.first.Mark().line + 1);
      if (!is_new) {
        throw Error(ErrorCode::kUsage, "{}: '{}' is already in line {}; keep one", where, name, other->second);
      }
      read_entry(name, entry.second, where);
    }
  }

  void read_entry(const std::string& name, const YAML::Node& value, const std::string& where) {
    if (const ConfigKey* key = schema_.find(name)) {
      if (!seen_.insert(name).second) throw Error(ErrorCode::kUsage, "{}: '{}' is given twice; keep one", where, name);
      values_[name] = resolve(*key, parse_value(*key, value, where));
      return;
    }
    const bool is_section = std::any_of(schema_.keys().begin(), schema_.keys().end(),
                                        [&](const ConfigKey& key) { return key.name.starts_with(name + "."); });
    if (!is_section) {
      // A whole unknown section is better told by its first key: that one has a near neighbour.
      if (value.IsMap() && value.size() > 0 && value.begin()->first.IsScalar()) {
        const std::string first = name + "." + value.begin()->first.Scalar();
        throw Error(ErrorCode::kUsage, "{}: unknown section '{}'; did you mean '{}'?", where, name,
                    schema_.nearest(first));
      }
      throw_unknown(schema_, where, name);
    }
    if (value.IsNull()) return;  // a section with all its lines commented out
    if (!value.IsMap()) throw Error(ErrorCode::kUsage, "{}: '{}' is a section; expected keys below it", where, name);
    read_section(value, name + ".");
  }

  json resolve(const ConfigKey& key, json value) const {
    if (key.type != ValueType::kPath || !value.is_string() || value.get_ref<const std::string&>().empty()) return value;
    const auto& text = value.get_ref<const std::string&>();
    const fs::path resolved = (path_.parent_path() / text).lexically_normal();
    if (key.or_name && text.find('/') == std::string::npos && text != "null" && !fs::exists(resolved)) return value;
    return resolved.string();
  }

  const fs::path& path_;
  const ConfigSchema& schema_;
  std::map<std::string, json, std::less<>>& values_;
  std::set<std::string> seen_;
};

}  // namespace

Config::Config(const ConfigSchema& schema) : schema_(&schema) {
  for (const ConfigKey& key : schema.keys()) values_[key.name] = key.default_value;
}

Config Config::load(const fs::path& yaml, const ConfigSchema& schema) {
  Config config(schema);
  YamlReader(yaml, schema, config.values_).read();
  return config;
}

Config Config::defaults(const ConfigSchema& schema) { return Config(schema); }

void Config::set(std::string_view assignment) {
  const std::string where = fmt::format("--set {}", assignment);
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw Error(ErrorCode::kUsage, "{}: expected KEY=VALUE, as in --set tile.size_px=256", where);
  }
  const std::string name(assignment.substr(0, equals));
  const ConfigKey* key = schema_->find(name);
  if (key == nullptr) throw_unknown(*schema_, where, name);
  const std::string text(assignment.substr(equals + 1));
  if (key->type == ValueType::kPath && text != "null" && text != "~") {
    // A path is taken letter by letter: "a: b" or "#1" would be something else in YAML.
    values_[name] = text;
    return;
  }
  try {
    values_[name] = parse_value(*key, YAML::Load(text), where);
  } catch (const YAML::ParserException& error) {
    throw Error(ErrorCode::kUsage, "{}: not YAML: {}", where, error.msg);
  }
}

void Config::set_value(std::string_view name, json value) {
  const ConfigKey* key = schema_->find(name);
  if (key == nullptr) throw_unknown(*schema_, "configuration", std::string(name));
  values_[key->name] = check_value(*key, std::move(value), "configuration");
}

bool Config::has(std::string_view name) const { return !value(name).is_null(); }

json Config::resolved() const {
  json nested = json::object();
  for (const auto& [name, value] : values_) {
    std::string pointer = "/" + name;
    std::replace(pointer.begin(), pointer.end(), '.', '/');
    nested[json::json_pointer(pointer)] = value;
  }
  return nested;
}

const json& Config::value(std::string_view name) const {
  const auto found = values_.find(name);
  if (found == values_.end())
    throw std::logic_error("configuration key '" + std::string(name) + "' is not in the schema");
  return found->second;
}

}  // namespace vtissue::pipeline
