#include "io/gene_panel.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <unordered_map>
#include <utility>

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

/// "GRCh38_" of "GRCh38_ACTB", as references of two species name all their genes; empty if the names do not share one.
std::string reference_prefix(std::span<const std::string> names) {
  if (names.size() < 2) return "";
  const std::string prefix = names.front().substr(0, names.front().find_last_of('_') + 1);
  const bool shared =
      std::ranges::all_of(names, [&](const std::string& name) { return name.starts_with(prefix) && name != prefix; });
  return shared ? prefix : "";
}

Match choose_match(std::span<const std::string> symbols, std::span<const std::string> gene_ids,
                   std::span<const std::string> panel) {
  const Key exact = [](std::string_view name) { return std::string(name); };
  Match match{match_columns(symbols, panel, exact), "symbol", ""};
  double best = fraction_of(match.columns, panel.size());
  const auto try_names = [&](std::span<const std::string> names, const Key& key, std::string_view by) {
    std::vector<std::int32_t> columns = match_columns(names, panel, key);
    const double fraction = fraction_of(columns, panel.size());
    if (fraction <= best) return;
    best = fraction;
    match.columns = std::move(columns);
    match.by = by;
  };
  const bool file_has_ids = mostly(symbols, is_ensembl);
  if (mostly(panel, is_ensembl)) {
    try_names(gene_ids.empty() ? symbols : gene_ids, without_version, "Ensembl id");
    if (best < kPoor && !file_has_ids && gene_ids.empty())
      match.hint = "the model's panel lists Ensembl ids, the file symbols";
    return match;
  }
  if (best >= kPoor) return match;
  if (file_has_ids) {
    match.hint = fmt::format("the file names its genes by Ensembl id ({}), the model's panel by symbol ({})",
                             symbols.front(), panel.front());
    return match;
  }
  const auto first_of = [](std::span<const std::string> names, bool (*predicate)(const std::string&)) {
    return *std::ranges::find_if(names, predicate);
  };
  if (mostly(symbols, looks_like_rodent) && mostly(panel, looks_like_human)) {
    match.hint = fmt::format("the file's symbols look like mouse ({}), the model's panel like human ({})",
                             first_of(symbols, looks_like_rodent), first_of(panel, looks_like_human));
    return match;
  }
  if (mostly(symbols, looks_like_human) && mostly(panel, looks_like_rodent)) {
    match.hint = fmt::format("the file's symbols look like human ({}), the model's panel like mouse ({})",
                             first_of(symbols, looks_like_human), first_of(panel, looks_like_rodent));
    return match;
  }
  try_names(symbols, to_upper, "symbol ignoring case");
  if (const std::string prefix = reference_prefix(symbols); best < kPoor && !prefix.empty()) {
    try_names(
        symbols,
        [&](std::string_view name) { return std::string(name.substr(name.starts_with(prefix) ? prefix.size() : 0)); },
        "symbol after " + prefix);
  }
  return match;
}

}  // namespace

double PanelMatch::matched_fraction() const {
  return genes.empty() ? 1.0 : static_cast<double>(matched()) / static_cast<double>(genes.size());
}

void PanelMatch::require_matched(double fraction_min, std::string_view file) const {
  if (matched_fraction() >= fraction_min) return;
  throw Error(ErrorCode::kBadInput,
              "{}: {} of {} genes of the model's panel match ({:.1f} %); at least {:.0f} % are needed: {}", file,
              matched(), genes.size(), 100 * matched_fraction(), 100 * fraction_min,
              hint.empty() ? "is this another tissue or species, or another gene naming?" : hint);
}

PanelMatch match_genes(std::span<const std::string> symbols, std::span<const std::string> gene_ids,
                       std::span<const std::string> panel) {
  Match match = choose_match(symbols, gene_ids, panel);
  PanelMatch result{.genes = {panel.begin(), panel.end()},
                    .columns = std::move(match.columns),
                    .missing = {},
                    .matched_by = std::move(match.by),
                    .hint = std::move(match.hint)};
  std::vector<std::uint8_t> found(panel.size(), 0);
  for (const std::int32_t position : result.columns) {
    if (position != kNoMatch) found[static_cast<std::size_t>(position)] = 1;
  }
  for (std::size_t i = 0; i < panel.size(); ++i) {
    if (found[i] == 0) result.missing.push_back(panel[i]);
  }
  return result;
}

GeneFilter panel_filter(std::span<const std::string> panel) {
  return [panel](std::span<const std::string> genes, std::span<const std::string> ids) {
    const PanelMatch match = match_genes(genes, ids, panel);
    std::vector<std::uint8_t> keep(genes.size());
    std::ranges::transform(match.columns, keep.begin(), [](std::int32_t position) { return position != kNoMatch; });
    // How names match otherwise also depends on those that do not.
    const bool by_name_alone = match.matched_by == "symbol" || match.matched_by == "Ensembl id";
    if (match.matched_fraction() < kPoor || !by_name_alone) std::ranges::fill(keep, std::uint8_t{1});
    return keep;
  };
}

std::vector<double> spot_totals(const SpotTable& spots) {
  const ExpressionMatrix& counts = spots.counts;
  if (!counts.totals.empty()) return counts.totals;
  std::vector<double> totals(counts.rows, 0.0);
  for (std::size_t row = 0; row < counts.rows; ++row) {
    for (auto i = counts.indptr[row]; i < counts.indptr[row + 1]; ++i) {
      const double value = counts.values[static_cast<std::size_t>(i)];
      totals[row] += spots.log_normalized ? std::expm1(value) : value;
    }
  }
  return totals;
}

PanelRows::PanelRows(const SpotTable& spots, const PanelMatch& match)
    : spots_(spots), match_(match), totals_(spot_totals(spots)), sums_(match.genes.size(), 0.0) {}

std::span<const PanelRows::Entry> PanelRows::spot(std::size_t spot) {
  const ExpressionMatrix& counts = spots_.counts;
  entries_.clear();
  for (auto i = counts.indptr[spot]; i < counts.indptr[spot + 1]; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::int32_t gene = match_.columns[static_cast<std::size_t>(counts.indices[at])];
    const double stored = counts.values[at];
    // Genes can be added up on the linear scale only.
    const double value = spots_.log_normalized ? std::expm1(stored) : stored;
    if (gene == kNoMatch || value == 0) continue;
    double& sum = sums_[static_cast<std::size_t>(gene)];
    if (sum == 0) entries_.push_back({gene, 0});
    sum += value;
  }
  for (Entry& entry : entries_) entry.value = std::exchange(sums_[static_cast<std::size_t>(entry.gene)], 0.0);
  std::ranges::sort(entries_, {}, &Entry::gene);
  return entries_;
}

float PanelRows::log_value(double value, double total) const {
  return static_cast<float>(std::log1p(value * (spots_.log_normalized ? 1.0 : kCountsPer / total)));
}

PanelExpression match_panel(const SpotTable& spots, std::span<const std::string> panel) {
  const ExpressionMatrix& counts = spots.counts;
  PanelExpression result{match_genes(counts.genes, counts.gene_ids, panel), counts.rows, {}, {}, {}};
  PanelRows rows(spots, result);
  result.totals.resize(counts.rows);
  result.values.assign(counts.rows * panel.size(), 0.0f);
  if (!spots.log_normalized) result.counts.assign(result.values.size(), 0.0f);
  for (std::size_t row = 0; row < counts.rows; ++row) {
    const double total = rows.total(row);
    result.totals[row] = static_cast<float>(total);
    if (total <= 0) continue;
    for (const PanelRows::Entry& entry : rows.spot(row)) {
      const std::size_t at = row * panel.size() + static_cast<std::size_t>(entry.gene);
      result.values[at] = rows.log_value(entry.value, total);
      if (!spots.log_normalized) result.counts[at] = static_cast<float>(entry.value);
    }
  }
  return result;
}

}  // namespace vtissue::io
