#include <algorithm>
#include <stdexcept>

#include "core/edit_distance.h"
#include "pipeline/config.h"
#include "pipeline/config_value.h"

namespace vtissue::pipeline {
using nlohmann::json;

namespace {

std::string_view last_part(std::string_view name) { return name.substr(name.rfind('.') + 1); }

std::string section_of(const std::string& name) {
  const std::size_t dot = name.find('.');
  return dot == std::string::npos ? "" : name.substr(0, dot);
}

std::string_view type_label(ValueType type) {
  switch (type) {
    case ValueType::kBool:
      return "bool";
    case ValueType::kInteger:
      return "integer";
    case ValueType::kNumber:
      return "number";
    case ValueType::kString:
      return "text";
    case ValueType::kPath:
      return "path";
    case ValueType::kNumberList:
      return "list of numbers";
    case ValueType::kStringList:
      return "list of texts";
  }
  return "";
}

/// For a cell of a Markdown table.
std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::string default_cell(const json& value) {
  if (value.is_null()) return "not set";
  if (value.is_string()) return value.get_ref<const std::string&>().empty() ? "empty" : "`" + cell(value) + "`";
  return "`" + cell(value.dump()) + "`";
}

}  // namespace

void ConfigSchema::add(ConfigKey key) {
  if (find(key.name) != nullptr) throw std::logic_error("configuration key '" + key.name + "' is declared twice");
  for (const ConfigKey& other : keys_) {
    if (other.name.starts_with(key.name + ".") || key.name.starts_with(other.name + ".")) {
      throw std::logic_error("'" + key.name + "' and '" + other.name + "' cannot be a key and a section at once");
    }
  }
  try {
    key.default_value = check_value(key, std::move(key.default_value), "default");
  } catch (const Error& error) {
    throw std::logic_error(error.what());
  }
  keys_.push_back(std::move(key));
}

void ConfigSchema::add(std::vector<ConfigKey> keys) {
  for (ConfigKey& key : keys) add(std::move(key));
}

const ConfigKey* ConfigSchema::find(std::string_view name) const {
  const auto found = std::find_if(keys_.begin(), keys_.end(), [&](const ConfigKey& key) { return key.name == name; });
  return found == keys_.end() ? nullptr : &*found;
}

std::string ConfigSchema::nearest(std::string_view name) const {
  // "size_px" is near "tile.size_px" though the section is missing.
  const auto distance = [&](const ConfigKey& key) {
    const std::size_t whole = edit_distance(name, key.name);
    return name.find('.') == std::string_view::npos ? std::min(whole, 1 + edit_distance(name, last_part(key.name)))
                                                    : whole;
  };
  std::string best;
  std::size_t best_distance = 0;
  for (const ConfigKey& key : keys_) {
    const std::size_t candidate = distance(key);
    if (best.empty() || candidate < best_distance) {
      best = key.name;
      best_distance = candidate;
    }
  }
  return best;
}

std::string ConfigSchema::to_markdown() const {
  std::vector<std::string> sections;
  for (const ConfigKey& key : keys_) {
    const std::string section = section_of(key.name);
    if (std::find(sections.begin(), sections.end(), section) == sections.end()) sections.push_back(section);
  }
  std::string text;
  for (const std::string& section : sections) {
    if (!text.empty()) text += "\n";
    text += fmt::format("## {}\n\n", section.empty() ? "General" : section);
    text += "| key | type | default | range | description |\n|---|---|---|---|---|\n";
    for (const ConfigKey& key : keys_) {
      if (section_of(key.name) != section) continue;
      text += fmt::format("| `{}` | {} | {} | {} | {} |\n", key.name, type_label(key.type),
                          default_cell(key.default_value), cell(describe_range(key)), cell(key.description));
    }
  }
  return text;
}

}  // namespace vtissue::pipeline
