#include "io/gene_panel.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <unordered_map>

#include "core/error.h"

namespace vtissue::io {
namespace {

constexpr double kPoor = 0.5;  // below it other ways of matching are tried
constexpr double kCountsPer = 1e4;
constexpr std::int32_t kNoMatch = -1;

bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }

std::string to_upper(std::string_view text) {
  std::string upper(text);
  std::ranges::transform(upper, upper.begin(),
                         [](char c) { return is_lower(c) ? static_cast<char>(c - 'a' + 'A') : c; });
  return upper;
}

/// ENSG00000141510, ENSMUSG00000059552.4: "ENS", a species, "G", digits.
bool is_ensembl(std::string_view name) {
  if (!name.starts_with("ENS")) return false;
  const auto digits = name.find_first_of("0123456789");
  return digits != std::string_view::npos && digits >= 4 && name[digits - 1] == 'G' && name.size() - digits >= 6;
}

std::string without_version(std::string_view id) { return std::string(id.substr(0, id.find('.'))); }

bool mostly(std::span<const std::string> names, const std::function<bool(const std::string&)>& predicate) {
  return !names.empty() && 2 * std::ranges::count_if(names, predicate) > static_cast<std::ptrdiff_t>(names.size());
}

/// Actb, Cd3e: how mouse and rat genes are written. Human ones are ACTB, CD3E.
bool looks_like_rodent(const std::string& symbol) {
  return symbol.size() > 1 && is_upper(symbol[0]) && std::ranges::any_of(symbol, is_lower) &&
         std::ranges::none_of(symbol.begin() + 1, symbol.end(), is_upper);
}

bool looks_like_human(const std::string& symbol) {
  return symbol.size() > 1 && is_upper(symbol[0]) && std::ranges::none_of(symbol, is_lower);
}

using Key = std::function<std::string(std::string_view)>;

/// For each column of the file the position in the panel, or kNoMatch.
std::vector<std::int32_t> match_columns(std::span<const std::string> names, std::span<const std::string> panel,
                                        const Key& key) {
  std::unordered_map<std::string, std::int32_t> positions;
  for (std::size_t i = 0; i < panel.size(); ++i) positions.emplace(key(panel[i]), static_cast<std::int32_t>(i));
  std::vector<std::int32_t> matches(names.size(), kNoMatch);
  for (std::size_t column = 0; column < names.size(); ++column) {
    const auto found = positions.find(key(names[column]));
    if (found != positions.end()) matches[column] = found->second;
  }
  return matches;
}

double fraction_of(std::span<const std::int32_t> matches, std::size_t panel_size) {
  std::vector<std::uint8_t> found(panel_size, 0);
  for (const std::int32_t position : matches) {
    if (position != kNoMatch) found[static_cast<std::size_t>(position)] = 1;
  }
  return panel_size == 0 ? 1.0 : static_cast<double>(std::ranges::count(found, 1)) / static_cast<double>(panel_size);
}

struct Match {
  std::vector<std::int32_t> columns;
  std::string by, hint;
};

Match choose_match(const ExpressionMatrix& counts, std::span<const std::string> panel) {
  const Key exact = [](std::string_view name) { return std::string(name); };
  Match match{match_columns(counts.genes, panel, exact), "symbol", ""};
  double best = fraction_of(match.columns, panel.size());
  const auto try_names = [&](std::span<const std::string> names, const Key& key, std::string_view by) {
    std::vector<std::int32_t> columns = match_columns(names, panel, key);
    const double fraction = fraction_of(columns, panel.size());
    if (fraction <= best) return;
    best = fraction;
    match.columns = std::move(columns);
    match.by = by;
  };
  const bool file_has_ids = mostly(counts.genes, is_ensembl);
  if (mostly(panel, is_ensembl)) {
    try_names(counts.gene_ids.empty() ? counts.genes : counts.gene_ids, without_version, "Ensembl id");
    if (best < kPoor && !file_has_ids && counts.gene_ids.empty())
      match.hint = "the model's panel lists Ensembl ids, the file symbols";
    return match;
  }
  if (best >= kPoor) return match;
  if (file_has_ids) {
    match.hint = fmt::format("the file names its genes by Ensembl id ({}), the model's panel by symbol ({})",
                             counts.genes.front(), panel.front());
    return match;
  }
  const auto first_of = [](std::span<const std::string> names, bool (*predicate)(const std::string&)) {
    return *std::ranges::find_if(names, predicate);
  };
  if (mostly(counts.genes, looks_like_rodent) && mostly(panel, looks_like_human)) {
    match.hint = fmt::format("the file's symbols look like mouse ({}), the model's panel like human ({})",
                             first_of(counts.genes, looks_like_rodent), first_of(panel, looks_like_human));
    return match;
  }
  if (mostly(counts.genes, looks_like_human) && mostly(panel, looks_like_rodent)) {
    match.hint = fmt::format("the file's symbols look like human ({}), the model's panel like mouse ({})",
                             first_of(counts.genes, looks_like_human), first_of(panel, looks_like_rodent));
    return match;
  }
  try_names(counts.genes, to_upper, "symbol ignoring case");
  return match;
}

}  // namespace

double PanelExpression::matched_fraction() const {
  return genes.empty() ? 1.0 : static_cast<double>(matched()) / static_cast<double>(genes.size());
}

void PanelExpression::require_matched(double fraction_min, std::string_view file) const {
  if (matched_fraction() >= fraction_min) return;
  throw Error(ErrorCode::kBadInput,
              "{}: {} of {} genes of the model's panel match ({:.1f} %); at least {:.0f} % are needed: {}", file,
              matched(), genes.size(), 100 * matched_fraction(), 100 * fraction_min,
              hint.empty() ? "is this another tissue or species, or another gene naming?" : hint);
}

PanelExpression match_panel(const SpotTable& spots, std::span<const std::string> panel) {
  const ExpressionMatrix& counts = spots.counts;
  Match match = choose_match(counts, panel);
  PanelExpression result;
  result.spots = counts.rows;
  result.genes.assign(panel.begin(), panel.end());
  result.matched_by = std::move(match.by);
  result.hint = std::move(match.hint);
  std::vector<std::uint8_t> found(panel.size(), 0);
  for (const std::int32_t position : match.columns) {
    if (position != kNoMatch) found[static_cast<std::size_t>(position)] = 1;
  }
  for (std::size_t i = 0; i < panel.size(); ++i) {
    if (found[i] == 0) result.missing.push_back(panel[i]);
  }

  result.totals.resize(counts.rows);
  result.values.assign(counts.rows * panel.size(), 0.0f);
  if (!spots.log_normalized) result.counts.assign(result.values.size(), 0.0f);
  std::vector<double> sums(panel.size());
  for (std::size_t row = 0; row < counts.rows; ++row) {
    std::ranges::fill(sums, 0.0);
    double total = 0;
    for (auto i = counts.indptr[row]; i < counts.indptr[row + 1]; ++i) {
      const auto at = static_cast<std::size_t>(i);
      // Genes can be added up on the linear scale only.
      const double value =
          spots.log_normalized ? std::expm1(static_cast<double>(counts.values[at])) : counts.values[at];
      total += value;
      const std::int32_t position = match.columns[static_cast<std::size_t>(counts.indices[at])];
      if (position != kNoMatch) sums[static_cast<std::size_t>(position)] += value;
    }
    result.totals[row] = static_cast<float>(total);
    if (total <= 0) continue;
    const double scale = spots.log_normalized ? 1.0 : kCountsPer / total;
    for (std::size_t gene = 0; gene < panel.size(); ++gene) {
      const std::size_t at = row * panel.size() + gene;
      result.values[at] = static_cast<float>(std::log1p(sums[gene] * scale));
      if (!spots.log_normalized) result.counts[at] = static_cast<float>(sums[gene]);
    }
  }
  return result;
}

}  // namespace vtissue::io
