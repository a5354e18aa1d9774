#include "models/checkpoint/name_map.h"

#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/torch.h"

namespace vtissue::models {
namespace {

/// What the stars of a pattern stood for, and what followed it.
struct NameMatch {
  std::vector<std::string_view> stars;
  std::string_view rest;
};

std::optional<NameMatch> match_name(std::string_view pattern, std::string_view name) {
  NameMatch match;
  while (!pattern.empty()) {
    if (pattern.front() == '*') {
      const std::string_view part = name.substr(0, name.find('.'));
      if (part.empty()) return std::nullopt;
      match.stars.push_back(part);
      name.remove_prefix(part.size());
    } else {
      if (name.empty() || name.front() != pattern.front()) return std::nullopt;
      name.remove_prefix(1);
      if (pattern == ".") {
        if (name.empty()) return std::nullopt;
        match.rest = name;
        return match;
      }
    }
    pattern.remove_prefix(1);
  }
  if (!name.empty()) return std::nullopt;
  return match;
}

std::string fill_name(std::string_view pattern, const NameMatch& match) {
  std::string name;
  auto star = match.stars.begin();
  for (const char c : pattern) {
    if (c == '*') {
      name += *star++;
    } else {
      name += c;
    }
  }
  return name.append(match.rest);
}

void check_rule(const NameRule& rule) {
  const auto stars = [](std::string_view pattern) { return std::count(pattern.begin(), pattern.end(), '*'); };
  if (rule.ours.empty() || rule.file.empty() || stars(rule.ours) != stars(rule.file) ||
      rule.ours.ends_with('.') != rule.file.ends_with('.')) {
    throw Error(ErrorCode::kUsage,
                "name map: '{}' and '{}' do not fit each other; both need the same number of '*', and a '.' at the end "
                "of both or of neither",
                rule.ours, rule.file);
  }
  if (rule.parts < 1 || rule.part < 0 || rule.part >= rule.parts) {
    throw Error(ErrorCode::kUsage, "name map: '{}' is part {} of {}; expected 1 to the number of parts", rule.ours,
                rule.part + 1, rule.parts);
  }
}

constexpr std::size_t kNamesInMessages = 5;

/// "a, b, c and 4 more".
std::string some_of(const std::vector<std::string>& names) {
  const std::size_t shown = std::min(names.size(), kNamesInMessages);
  const std::string more = names.size() > shown ? fmt::format(" and {} more", names.size() - shown) : "";
  return fmt::format("{}{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "), more);
}

std::string_view without_prefix(std::string_view name, std::string_view prefix) {
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

NameRule filled(const NameRule& rule, std::string ours, std::string file) {
  return {.ours = std::move(ours),
          .file = std::move(file),
          .part = rule.part,
          .parts = rule.parts,
          .squeeze = rule.squeeze};
}

}  // namespace

bool name_matches(std::string_view pattern, std::string_view name) { return match_name(pattern, name).has_value(); }

NameMap::NameMap(std::vector<NameRule> rules, std::vector<std::string> ignored, std::string prefix)
    : rules_(std::move(rules)), ignored_(std::move(ignored)), prefix_(std::move(prefix)) {
  for (const NameRule& rule : rules_) check_rule(rule);
}

NameRule NameMap::to_file(std::string_view ours) const {
  for (const NameRule& rule : rules_) {
    if (const auto match = match_name(rule.ours, ours)) {
      return filled(rule, std::string(ours), prefix_ + fill_name(rule.file, *match));
    }
  }
  return {.ours = std::string(ours), .file = prefix_ + std::string(ours)};
}

std::vector<NameRule> NameMap::to_ours(std::string_view file) const {
  if (ignores(file)) return {};
  const std::string_view name = without_prefix(file, prefix_);
  std::vector<NameRule> result;
  // The first row that fits decides; those that share its tensor have the same pattern.
  const NameRule* first = nullptr;
  for (const NameRule& rule : rules_) {
    if (first != nullptr && rule.file != first->file) continue;
    if (const auto match = match_name(rule.file, name)) {
      first = &rule;
      result.push_back(filled(rule, fill_name(rule.ours, *match), std::string(file)));
    }
  }
  if (result.empty()) result.push_back({.ours = std::string(name), .file = std::string(file)});
  return result;
}

bool NameMap::ignores(std::string_view file) const {
  const std::string_view name = without_prefix(file, prefix_);
  return std::ranges::any_of(ignored_, [&](const std::string& pattern) { return name_matches(pattern, name); });
}

at::Tensor NameMap::take(const at::Tensor& whole, const NameRule& rule) {
  at::Tensor tensor = whole;
  if (rule.parts > 1) {
    if (tensor.dim() == 0 || tensor.size(0) % rule.parts != 0) {
      throw Error(ErrorCode::kModel, "tensor '{}' cannot be divided into {} equal parts for '{}'", rule.file,
                  rule.parts, rule.ours);
    }
    const std::int64_t rows = tensor.size(0) / rule.parts;
    tensor = tensor.slice(0, rule.part * rows, (rule.part + 1) * rows);
  }
  if (rule.squeeze && tensor.dim() == 4 && tensor.size(2) == 1 && tensor.size(3) == 1) {
    tensor = tensor.squeeze(3).squeeze(2);
  }
  return tensor;
}

LoadRules NameMap::load_rules() const {
  LoadRules rules;
  rules.source = [map = *this](const StateDict& weights, const std::string& name) {
    const NameRule rule = map.to_file(name);
    return weights.contains(rule.file) ? take(weights.get(rule.file), rule) : at::Tensor();
  };
  rules.may_ignore = [map = *this](const std::string& name) { return map.ignores(name); };
  return rules;
}

bool NameMap::fits(std::span<const TensorInfo> tensors) const {
  if (rules_.empty() && ignored_.empty() && prefix_.empty()) return true;
  return std::ranges::any_of(tensors, [&](const TensorInfo& info) {
    const std::string_view name = without_prefix(info.name, prefix_);
    return name.size() < info.name.size() || ignores(info.name) ||
           std::ranges::any_of(rules_, [&](const NameRule& rule) { return name_matches(rule.file, name); });
  });
}

StateDict NameMap::applied_to(const StateDict& weights, std::string_view origin) const {
  if (!fits(weights.tensors())) {
    std::vector<std::string> patterns, names;
    for (const NameRule& rule : rules_) patterns.push_back(prefix_ + rule.file);
    for (const std::string& pattern : ignored_) patterns.push_back(prefix_ + pattern);
    if (patterns.empty()) patterns.push_back(prefix_);
    for (const TensorInfo& info : weights.tensors()) names.push_back(info.name);
    throw Error(ErrorCode::kUsage, "{}: fits no tensor of {}: it is for {}, the file has {}", origin,
                weights.path().string(), some_of(patterns), some_of(names));
  }
  std::vector<TensorView> views;
  std::map<std::string, std::string> taken;  // our name → the file's
  for (const TensorInfo& info : weights.tensors()) {
    for (const NameRule& rule : to_ours(info.name)) {
      const auto [before, first] = taken.emplace(rule.ours, info.name);
      if (!first) {
        throw Error(ErrorCode::kUsage, "{}: '{}' and '{}' of {} both become '{}'; one of them has to get another name",
                    origin, before->second, info.name, weights.path().string(), rule.ours);
      }
      TensorView view{.info = {rule.ours, info.dtype, info.shape}, .source = info.name, .take = {}};
      auto& shape = view.info.shape;
      if (rule.parts > 1 && !shape.empty()) shape[0] /= rule.parts;
      if (rule.squeeze && shape.size() == 4 && shape[2] == 1 && shape[3] == 1) shape.resize(2);
      if (rule.parts > 1 || rule.squeeze) view.take = [rule](const at::Tensor& whole) { return take(whole, rule); };
      views.push_back(std::move(view));
    }
  }
  std::vector<std::string> unused;
  for (const NameRule& rule : rules_) {
    const auto used = [&](const TensorInfo& info) {
      return !ignores(info.name) && name_matches(rule.file, without_prefix(info.name, prefix_));
    };
    if (std::ranges::none_of(weights.tensors(), used)) unused.push_back(rule.file);
  }
  return weights.seen_as(
      std::move(views),
      unused.empty() ? "" : fmt::format("{} has rules for {}, which the file has not", origin, some_of(unused)));
}

std::map<std::string, at::Tensor> NameMap::from_file(const StateDict& weights) const {
  const StateDict ours = applied_to(weights);
  std::map<std::string, at::Tensor> result;
  for (const TensorInfo& info : ours.tensors()) result.emplace(info.name, ours.get(info.name));
  return result;
}

std::map<std::string, at::Tensor> NameMap::as_file(const std::map<std::string, at::Tensor>& ours) const {
  std::map<std::string, std::vector<at::Tensor>> parts;
  for (const auto& [name, tensor] : ours) {
    const NameRule rule = to_file(name);
    auto& slots = parts[rule.file];
    slots.resize(static_cast<std::size_t>(rule.parts));
    const bool widen = rule.squeeze && tensor.dim() == 2;
    slots[static_cast<std::size_t>(rule.part)] = widen ? tensor.unsqueeze(2).unsqueeze(3) : tensor;
  }
  std::map<std::string, at::Tensor> result;
  for (const auto& [file, slots] : parts) {
    if (!std::all_of(slots.begin(), slots.end(), [](const at::Tensor& t) { return t.defined(); })) {
      throw Error(ErrorCode::kUsage, "name map: not all {} parts of '{}' are there", slots.size(), file);
    }
    result.emplace(file, slots.size() == 1 ? slots.front() : at::cat(slots));
  }
  return result;
}

NameMap parse_name_map(const nlohmann::json& file) {
  const auto known_only = [](const nlohmann::json& object, std::initializer_list<std::string_view> known) {
    for (const auto& [key, value] : object.items()) {
      if (std::ranges::find(known, key) != known.end()) continue;
      throw Error(ErrorCode::kUsage, "name map: unknown key '{}'; known are {}", key, fmt::join(known, ", "));
    }
  };
  try {
    if (!file.is_object()) throw Error(ErrorCode::kUsage, "name map: not an object");
    known_only(file, {"prefix", "rules", "ignored", "config"});
    if (file.contains("config") && !file["config"].is_object()) {
      throw Error(ErrorCode::kUsage, "name map: 'config' holds keys of config.json and their values");
    }
    std::vector<NameRule> rules;
    for (const nlohmann::json& row : file.value("rules", nlohmann::json::array())) {
      rules.push_back({.ours = row.at("ours").get<std::string>(),
                       .file = row.at("file").get<std::string>(),
                       .part = row.value("part", 1) - 1,
                       .parts = row.value("parts", 1),
                       .squeeze = row.value("squeeze", false)});
      known_only(row, {"ours", "file", "part", "parts", "squeeze"});
    }
    return NameMap(std::move(rules), file.value("ignored", std::vector<std::string>()),
                   file.value("prefix", std::string()));
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::kUsage,
                "name map: expected 'prefix', a text, 'rules', a list of {{ours, file, part, parts, squeeze}}, and "
                "'ignored', a list of names");
  }
}

}  // namespace vtissue::models
