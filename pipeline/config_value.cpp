#include "pipeline/config_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/edit_distance.h"

namespace vtissue::pipeline {
using nlohmann::json;

namespace {

std::string figure(double value) { return fmt::format("{:.15g}", value); }

std::string_view type_name(ValueType type) {
  switch (type) {
    case ValueType::kBool:
      return "true or false";
    case ValueType::kInteger:
      return "an integer";
    case ValueType::kNumber:
      return "a number";
    case ValueType::kString:
      return "a text";
    case ValueType::kPath:
      return "a path";
    case ValueType::kNumberList:
      return "a list of numbers";
    case ValueType::kStringList:
      return "a list of texts";
  }
  return "a value";
}

bool may_be_unset(const ConfigKey& key) { return key.default_value.is_null() || key.type == ValueType::kPath; }

[[noreturn]] void throw_wrong(const ConfigKey& key, const std::string& where, const std::string& given) {
  throw Error(ErrorCode::kUsage, "{}: {}: {} is not usable; expected {}", where, key.name, given,
              describe_expected(key));
}

template <typename T>
std::optional<T> parse_all(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  T value{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// yaml-cpp tags what stood in quotes "!", and that is a text whatever it looks like.
bool is_quoted(const YAML::Node& node) { return node.Tag() == "!"; }

std::optional<json> parse_scalar(ValueType type, const YAML::Node& node) {
  if (!node.IsScalar()) return std::nullopt;
  const std::string& text = node.Scalar();
  if (type == ValueType::kString || type == ValueType::kPath) return json(text);
  if (is_quoted(node)) return std::nullopt;
  if (type == ValueType::kBool) {
    if (text == "true" || text == "True") return json(true);
    if (text == "false" || text == "False") return json(false);
  } else if (type == ValueType::kInteger) {
    if (const auto value = parse_all<std::int64_t>(text)) return json(*value);
  } else if (const auto value = parse_all<double>(text); value && std::isfinite(*value)) {
    return json(*value);
  }
  return std::nullopt;
}

std::string shown(const YAML::Node& node) {
  if (node.IsScalar()) return "'" + node.Scalar() + "'";
  if (node.IsNull()) return "nothing";
  return node.IsMap() ? "a section" : "a list";
}

void check_range(const ConfigKey& key, const json& value, const std::string& where) {
  const double number = value.get<double>();
  if (!std::isfinite(number) || (key.minimum && number < *key.minimum) || (key.maximum && number > *key.maximum)) {
    throw Error(ErrorCode::kUsage, "{}: {}: {} is out of range; expected {}", where, key.name, value.dump(),
                describe_expected(key));
  }
}

void check_choice(const ConfigKey& key, const std::string& value, const std::string& where) {
  if (key.choices.empty() || std::find(key.choices.begin(), key.choices.end(), value) != key.choices.end()) return;
  const auto nearest = std::min_element(
      key.choices.begin(), key.choices.end(),
      [&](const std::string& a, const std::string& b) { return edit_distance(a, value) < edit_distance(b, value); });
  throw Error(ErrorCode::kUsage, "{}: {}: '{}' is not a choice; did you mean '{}'? Expected {}", where, key.name, value,
              *nearest, describe_expected(key));
}

/// True if the JSON value has the type of an element or value of `type`; integers are made numbers.
bool fit_scalar(ValueType type, json& value) {
  switch (type) {
    case ValueType::kBool:
      return value.is_boolean();
    case ValueType::kInteger:
      return value.is_number_integer();
    case ValueType::kNumber:
      // 1 and 1.0 are the same setting and must give the same fingerprint.
      if (value.is_number_integer()) value = value.get<double>();
      return value.is_number();
    default:
      return value.is_string();
  }
}

}  // namespace

std::string describe_range(const ConfigKey& key) {
  if (!key.choices.empty()) {
    std::string list;
    for (const std::string& choice : key.choices) list += (list.empty() ? "" : ", ") + choice;
    return list;
  }
  if (key.minimum && key.maximum) return fmt::format("{} to {}", figure(*key.minimum), figure(*key.maximum));
  if (key.minimum) return fmt::format("at least {}", figure(*key.minimum));
  if (key.maximum) return fmt::format("at most {}", figure(*key.maximum));
  return {};
}

std::string describe_expected(const ConfigKey& key) {
  const std::string range = describe_range(key);
  std::string text(type_name(key.type));
  if (!key.choices.empty()) {
    text = key.type == ValueType::kStringList ? "a list of: " + range : "one of: " + range;
  } else if (!range.empty()) {
    text += (key.minimum && key.maximum ? " from " : " of ") + range;
  }
  if (key.default_value.is_null()) text += ", or null";
  return text;
}

json parse_value(const ConfigKey& key, const YAML::Node& node, const std::string& where) {
  if (node.IsNull() && may_be_unset(key)) return nullptr;
  const bool is_list = key.type == ValueType::kNumberList || key.type == ValueType::kStringList;
  if (!is_list) {
    std::optional<json> value = parse_scalar(key.type, node);
    if (!value) throw_wrong(key, where, shown(node));
    return check_value(key, std::move(*value), where);
  }
  if (!node.IsSequence()) throw_wrong(key, where, shown(node));
  const ValueType element = key.type == ValueType::kNumberList ? ValueType::kNumber : ValueType::kString;
  json list = json::array();
  for (const YAML::Node& item : node) {
    std::optional<json> value = parse_scalar(element, item);
    if (!value) throw_wrong(key, where, shown(item));
    list.push_back(std::move(*value));
  }
  return check_value(key, std::move(list), where);
}

json check_value(const ConfigKey& key, json value, const std::string& where) {
  if (value.is_null() && may_be_unset(key)) return value;
  const bool is_list = key.type == ValueType::kNumberList || key.type == ValueType::kStringList;
  if (is_list && !value.is_array()) throw_wrong(key, where, value.dump());
  ValueType type = key.type;
  if (type == ValueType::kNumberList) type = ValueType::kNumber;
  if (type == ValueType::kStringList) type = ValueType::kString;
  const auto check_one = [&](json& item) {
    if (!fit_scalar(type, item)) throw_wrong(key, where, item.dump());
    if (item.is_number()) check_range(key, item, where);
    if (item.is_string()) check_choice(key, item.get<std::string>(), where);
  };
  if (is_list) {
    for (json& item : value) check_one(item);
  } else {
    check_one(value);
  }
  return value;
}

}  // namespace vtissue::pipeline
