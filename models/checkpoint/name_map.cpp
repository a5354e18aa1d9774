#include "models/checkpoint/name_map.h"

#include <algorithm>

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

NameRule filled(const NameRule& rule, std::string ours, std::string file) {
  return {.ours = std::move(ours),
          .file = std::move(file),
          .part = rule.part,
          .parts = rule.parts,
          .squeeze = rule.squeeze};
}

}  // namespace

bool name_matches(std::string_view pattern, std::string_view name) { return match_name(pattern, name).has_value(); }

NameMap::NameMap(std::vector<NameRule> rules, std::vector<std::string> ignored)
    : rules_(std::move(rules)), ignored_(std::move(ignored)) {
  for (const NameRule& rule : rules_) check_rule(rule);
}

NameRule NameMap::to_file(std::string_view ours) const {
  for (const NameRule& rule : rules_) {
    if (const auto match = match_name(rule.ours, ours)) {
      return filled(rule, std::string(ours), fill_name(rule.file, *match));
    }
  }
  return {.ours = std::string(ours), .file = std::string(ours)};
}

std::vector<NameRule> NameMap::to_ours(std::string_view file) const {
  if (ignores(file)) return {};
  std::vector<NameRule> result;
  // The first row that fits decides; those that share its tensor have the same pattern.
  const NameRule* first = nullptr;
  for (const NameRule& rule : rules_) {
    if (first != nullptr && rule.file != first->file) continue;
    if (const auto match = match_name(rule.file, file)) {
      first = &rule;
      result.push_back(filled(rule, fill_name(rule.ours, *match), std::string(file)));
    }
  }
  if (result.empty()) result.push_back({.ours = std::string(file), .file = std::string(file)});
  return result;
}

bool NameMap::ignores(std::string_view file) const {
  return std::any_of(ignored_.begin(), ignored_.end(),
                     [&](const std::string& pattern) { return match_name(pattern, file).has_value(); });
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

std::map<std::string, at::Tensor> NameMap::from_file(const StateDict& weights) const {
  std::map<std::string, at::Tensor> result;
  for (const TensorInfo& info : weights.tensors()) {
    const std::vector<NameRule> rules = to_ours(info.name);
    if (rules.empty()) continue;
    const at::Tensor whole = weights.get(info.name);
    for (const NameRule& rule : rules) {
      if (!result.emplace(rule.ours, take(whole, rule).contiguous()).second) {
        throw Error(ErrorCode::kUsage, "name map: two tensors of {} become '{}'", weights.path().string(), rule.ours);
      }
    }
  }
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

}  // namespace vtissue::models
