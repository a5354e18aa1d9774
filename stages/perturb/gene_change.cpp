#include "stages/perturb/gene_change.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "core/edit_distance.h"
#include "core/error.h"

namespace vtissue::stages {
namespace {

constexpr std::string_view kExamples =
    "write MITF=-2sd (standard deviations over the slide's tiles), CD8A=+1.5 (log1p of counts per 10,000), "
    "CD8A=+20cp10k (counts per 10,000), MITF=x0.5 (times the counts), or without a sign the value itself: MITF=0";

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  return text;
}

[[noreturn]] void throw_no_change(std::string_view part) {
  throw Error(ErrorCode::kUsage, "'{}' is no change of a gene's expression; {}", part, kExamples);
}

/// What stands behind a gene's "=".
GeneChange parse_amount(std::string_view gene, std::string_view text, std::string_view part) {
  using Kind = GeneChange::Kind;
  GeneChange change{.gene = std::string(gene)};
  const bool fold = text.starts_with('x') || text.starts_with('*');
  const bool plus = text.starts_with('+'), minus = text.starts_with('-');
  if (fold || plus) text.remove_prefix(1);  // from_chars() takes no plus
  const char* const end = text.data() + text.size();
  const auto [rest, problem] = std::from_chars(text.data(), end, change.amount);
  if (problem != std::errc() || !std::isfinite(change.amount)) throw_no_change(part);
  const std::string_view unit = trimmed({rest, static_cast<std::size_t>(end - rest)});
  const bool relative = plus || minus;
  if (fold) {
    if (!unit.empty() || change.amount < 0 || std::signbit(change.amount)) throw_no_change(part);
    change.kind = Kind::kFold;
  } else if (unit == "sd" && relative) {
    change.kind = Kind::kDeviations;
  } else if (unit.empty() || unit == "log") {
    change.kind = relative ? Kind::kLog : Kind::kSetLog;
  } else if (unit == "cp10k") {
    change.kind = relative ? Kind::kCounts : Kind::kSetCounts;
  } else {
    throw_no_change(part);
  }
  return change;
}

std::pair<std::string_view, std::string_view> at_equals(std::string_view part) {
  const std::size_t equals = part.find('=');
  if (equals == std::string_view::npos) throw_no_change(part);
  const std::string_view gene = trimmed(part.substr(0, equals)), amount = trimmed(part.substr(equals + 1));
  if (gene.empty() || amount.empty()) throw_no_change(part);
  return {gene, amount};
}

std::string upper_case(std::string_view text) {
  std::string upper(text);
  std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return upper;
}

/// 0.1 + 0.2 as "0.3".
std::string number_text(double value, bool with_sign) {
  const std::string text = fmt::format("{:.6g}", value);
  return with_sign && !std::signbit(value) ? "+" + text : text;
}

}  // namespace

std::vector<GeneChange> parse_gene_changes(std::string_view text) {
  std::vector<GeneChange> changes;
  std::set<std::string> genes;
  for (std::size_t first = 0; first <= text.size();) {
    const std::size_t comma = std::min(text.find(',', first), text.size());
    const std::string_view part = trimmed(text.substr(first, comma - first));
    first = comma + 1;
    const auto [gene, amount] = at_equals(part);
    changes.push_back(parse_amount(gene, amount, part));
    if (!genes.insert(changes.back().gene).second) {
      throw Error(ErrorCode::kUsage, "gene {} is changed twice in '{}'; keep one", gene, text);
    }
  }
  return changes;
}

std::string to_text(const GeneChange& change) {
  using Kind = GeneChange::Kind;
  const auto number = [&](bool with_sign) { return number_text(change.amount, with_sign); };
  switch (change.kind) {
    case Kind::kDeviations:
      return change.gene + "=" + number(true) + "sd";
    case Kind::kLog:
      return change.gene + "=" + number(true);
    case Kind::kCounts:
      return change.gene + "=" + number(true) + "cp10k";
    case Kind::kFold:
      return change.gene + "=x" + number(false);
    case Kind::kSetLog:
      return change.gene + "=" + number(false);
    case Kind::kSetCounts:
      return change.gene + "=" + number(false) + "cp10k";
  }
  return change.gene;
}

std::string to_text(std::span<const GeneChange> changes) {
  std::string text;
  for (const GeneChange& change : changes) text += (text.empty() ? "" : ",") + to_text(change);
  return text;
}

std::vector<GeneChange> parse_gene_sweep(std::string_view text) {
  constexpr int kMostValues = 99;
  constexpr std::string_view kForm = "write GENE=FIRST..LAST:VALUES, as in MITF=-3sd..+3sd:7 (2 to 99 values)";
  const std::size_t dots = text.find(".."), colon = text.rfind(':');
  if (dots == std::string_view::npos || colon == std::string_view::npos || colon < dots) {
    throw Error(ErrorCode::kUsage, "'{}' is no range of a gene's expression; {}", text, kForm);
  }
  const auto [gene, low] = at_equals(text.substr(0, dots));
  const std::string_view high = trimmed(text.substr(dots + 2, colon - dots - 2));
  const std::string_view count_text = trimmed(text.substr(colon + 1));
  int count = 0;
  const auto [rest, problem] = std::from_chars(count_text.data(), count_text.data() + count_text.size(), count);
  if (problem != std::errc() || rest != count_text.data() + count_text.size() || count < 2 || count > kMostValues) {
    throw Error(ErrorCode::kUsage, "'{}' asks for '{}' values; {}", text, count_text, kForm);
  }
  const GeneChange first = parse_amount(gene, low, text), last = parse_amount(gene, high, text);
  if (first.kind != last.kind) {
    throw Error(ErrorCode::kUsage, "'{}': the ends of the range are not of one kind; {}", text, kForm);
  }
  std::vector<GeneChange> values;
  for (int k = 0; k < count; ++k) {
    GeneChange change = first;
    change.amount = first.amount + (last.amount - first.amount) * k / (count - 1);
    if (std::abs(change.amount) < 1e-12) change.amount = 0;
    values.push_back(std::move(change));
  }
  return values;
}

AppliedChange::AppliedChange(GeneChange change, GeneSpread spread, double most)
    : change_(std::move(change)), spread_(spread), most_(most) {}

float AppliedChange::operator()(float value) {
  using Kind = GeneChange::Kind;
  const double counts = std::expm1(double{value});
  double changed = value;
  switch (change_.kind) {
    case Kind::kDeviations:
      changed += change_.amount * spread_.deviation;
      break;
    case Kind::kLog:
      changed += change_.amount;
      break;
    case Kind::kCounts:
      changed = std::log1p(std::max(-0.5, counts + change_.amount));  // below 0 counts it is clamped all the same
      break;
    case Kind::kFold:
      changed = std::log1p(counts * change_.amount);
      break;
    case Kind::kSetLog:
      changed = change_.amount;
      break;
    case Kind::kSetCounts:
      changed = std::log1p(std::max(-0.5, change_.amount));
      break;
  }
  ++tiles_;
  before_ += value;
  if (changed < 0) {
    ++at_zero_;
    changed = 0;
  } else if (changed > most_) {
    // A value that already lies there stays.
    if (changed > value) ++at_most_;
    changed = std::max(most_, std::min(changed, double{value}));
  }
  after_ += changed;
  return static_cast<float>(changed);
}

nlohmann::json AppliedChange::report() const {
  const double n = tiles_ == 0 ? 1 : static_cast<double>(tiles_);
  return {{"gene", change_.gene},
          {"change", to_text(change_)},
          {"mean", spread_.mean},
          {"deviation", spread_.deviation},
          {"mean_before", before_ / n},
          {"mean_after", after_ / n},
          {"tiles", tiles_},
          {"clamped_at_zero", at_zero_},
          {"clamped_at_most", at_most_}};
}

std::vector<std::string> nearest_names(std::string_view name, std::span<const std::string> known, std::size_t count) {
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const std::string& other : known) ranked.emplace_back(edit_distance(upper_case(name), upper_case(other)), other);
  std::ranges::sort(ranked);
  std::vector<std::string> nearest;
  for (std::size_t k = 0; k < std::min(count, ranked.size()); ++k) nearest.push_back(ranked[k].second);
  return nearest;
}

}  // namespace vtissue::stages
