#include "models/genes/highly_variable.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>

#include "core/error.h"
#include "models/genes/loess.h"

namespace vtissue::models {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kMadToSigma = 0.6744897501960817;  // third quartile of the standard normal
constexpr double kLeastMean = 1e-12;

/// A table [cells, genes], some of its cells and some of its genes.
struct Table {
  std::span<const float> values;
  std::size_t stride = 0;
  std::vector<std::size_t> cells;
  std::vector<std::size_t> genes;

  double at(std::size_t cell, std::size_t gene) const { return values[cells[cell] * stride + genes[gene]]; }
};

struct Moments {
  std::vector<double> means;
  std::vector<double> variances;  ///< denominator n - 1
};

Moments moments(const Table& t) {
  Moments m;
  const auto n = static_cast<double>(t.cells.size());
  for (std::size_t gene = 0; gene < t.genes.size(); ++gene) {
    // Divided once: of counts the sum is exact, and genes of equal sums must have equal means.
    double sum = 0;
    for (std::size_t cell = 0; cell < t.cells.size(); ++cell) sum += t.at(cell, gene);
    const double mean = sum / n;
    double squares = 0;
    for (std::size_t cell = 0; cell < t.cells.size(); ++cell) {
      const double difference = t.at(cell, gene) - mean;
      squares += difference * difference;
    }
    m.means.push_back(mean);
    m.variances.push_back(squares / (n - 1));
  }
  return m;
}

/// Middle value, mean of the two middle ones of an even number.
double median_of(std::vector<double> values) {
  if (values.empty()) return kNaN;
  std::ranges::sort(values);
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

/// Linearly interpolated, of sorted values.
double percentile(const std::vector<double>& sorted, double percent) {
  const double position = percent / 100 * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(position);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  const double share = position - static_cast<double>(low);
  const double difference = sorted[high] - sorted[low];
  // Rounded as numpy does: whether a mean lies on an edge depends on it.
  return share < 0.5 ? sorted[low] + difference * share : sorted[high] - difference * (1 - share);
}

struct Dispersions {
  std::vector<double> means;
  std::vector<double> raw;
  std::vector<double> normalized;
  std::vector<std::uint8_t> selected;
};

Dispersions cell_ranger(const Table& t, int top_genes) {
  Moments m = moments(t);
  const std::size_t genes = t.genes.size();
  Dispersions d;
  for (std::size_t i = 0; i < genes; ++i) {
    if (m.means[i] == 0) m.means[i] = kLeastMean;
    d.raw.push_back(m.variances[i] / m.means[i]);
  }
  d.means = m.means;
  std::vector<double> sorted = m.means;
  std::ranges::sort(sorted);
  std::vector<double> edges;  // right-closed bins
  for (int percent = 10; percent <= 100; percent += 5) edges.push_back(percentile(sorted, percent));
  std::vector<std::vector<double>> bins(edges.size() + 1);
  std::vector<std::size_t> bin_of;
  for (std::size_t i = 0; i < genes; ++i) {
    bin_of.push_back(
        static_cast<std::size_t>(std::lower_bound(edges.begin(), edges.end(), m.means[i]) - edges.begin()));
    bins[bin_of.back()].push_back(d.raw[i]);
  }
  std::vector<double> medians;
  std::vector<double> deviations;
  for (const std::vector<double>& bin : bins) {
    medians.push_back(median_of(bin));
    std::vector<double> distances;
    for (const double value : bin) distances.push_back(std::abs(value - medians.back()));
    deviations.push_back(median_of(distances) / kMadToSigma);
  }
  std::vector<double> comparable;
  for (std::size_t i = 0; i < genes; ++i) {
    d.normalized.push_back((d.raw[i] - medians[bin_of[i]]) / deviations[bin_of[i]]);
    if (!std::isnan(d.normalized.back())) comparable.push_back(d.normalized.back());
  }
  std::ranges::sort(comparable, std::greater<>());
  const auto wanted = static_cast<std::size_t>(top_genes);
  const double cut = comparable.empty() ? 0 : comparable[std::min(wanted, comparable.size()) - 1];
  for (const double value : d.normalized) d.selected.push_back((std::isnan(value) ? 0 : value) >= cut ? 1 : 0);
  return d;
}

/// Variance of each gene's clipped standard scores, with the deviation that the regression expects of its mean.
std::vector<double> seurat_variances(const Table& t, double span) {
  const Moments m = moments(t);
  const std::size_t genes = t.genes.size();
  std::vector<double> x;
  std::vector<double> y;
  for (std::size_t i = 0; i < genes; ++i) {
    if (m.variances[i] <= 0) continue;
    x.push_back(std::log10(m.means[i]));
    y.push_back(std::log10(m.variances[i]));
  }
  const std::vector<double> expected = loess(x, y, span);
  const auto n = static_cast<double>(t.cells.size());
  std::vector<double> result;
  std::size_t next = 0;
  for (std::size_t i = 0; i < genes; ++i) {
    const double variance = m.variances[i] > 0 ? std::pow(10, expected[next++]) : 1.0;
    const double limit = std::sqrt(variance) * std::sqrt(n) + m.means[i];
    double sum = 0;
    double squares = 0;
    for (std::size_t cell = 0; cell < t.cells.size(); ++cell) {
      const double value = std::min(t.at(cell, i), limit);
      sum += value;
      squares += value * value;
    }
    result.push_back((n * m.means[i] * m.means[i] + squares - 2 * sum * m.means[i]) / ((n - 1) * variance));
  }
  return result;
}

/// Genes in the order of `before`, equal ones as they come.
template <typename Before>
std::vector<std::size_t> order_by(std::size_t genes, Before&& before) {
  std::vector<std::size_t> order(genes);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), before);
  return order;
}

void select_first(const std::vector<std::size_t>& order, int top_genes, std::vector<std::uint8_t>& selected) {
  selected.assign(order.size(), 0);
  for (std::size_t i = 0; i < std::min(order.size(), static_cast<std::size_t>(top_genes)); ++i) selected[order[i]] = 1;
}

HighlyVariableGenes by_dispersion(const Table& all, const std::vector<Table>& parts, const HvgOptions& options) {
  HighlyVariableGenes result;
  if (parts.size() == 1) {
    Dispersions d = cell_ranger(all, options.top_genes);
    result.means = std::move(d.means);
    result.dispersions = std::move(d.raw);
    result.dispersions_normalized = std::move(d.normalized);
    result.selected = std::move(d.selected);
    return result;
  }
  const std::size_t genes = all.genes.size();
  std::vector<double> normalized_count(genes);
  result.means.assign(genes, 0);
  result.dispersions.assign(genes, 0);
  result.dispersions_normalized.assign(genes, 0);
  result.batches.assign(genes, 0);
  const auto share = 1 / static_cast<double>(parts.size());
  for (const Table& part : parts) {
    // Genes that a batch does not express take no part in its bins; they come back as zeros.
    Table expressed = part;
    std::erase_if(expressed.genes, [&](std::size_t gene) {
      return std::ranges::none_of(part.cells,
                                  [&](std::size_t cell) { return part.values[cell * part.stride + gene] > 0; });
    });
    if (expressed.genes.empty()) continue;
    const Dispersions d = cell_ranger(expressed, options.top_genes);
    for (std::size_t i = 0; i < expressed.genes.size(); ++i) {
      const std::size_t gene = expressed.genes[i];
      result.means[gene] += share * d.means[i];
      result.dispersions[gene] += share * d.raw[i];
      result.batches[gene] += d.selected[i];
      if (std::isnan(d.normalized[i])) {
        normalized_count[gene] -= 1;  // left out of the mean
      } else {
        result.dispersions_normalized[gene] += d.normalized[i];
      }
    }
  }
  for (std::size_t gene = 0; gene < genes; ++gene) {
    const double count = static_cast<double>(parts.size()) + normalized_count[gene];
    result.dispersions_normalized[gene] = count > 0 ? result.dispersions_normalized[gene] / count : kNaN;
  }
  const auto value = [&](std::size_t gene) {
    const double d = result.dispersions_normalized[gene];
    return std::isnan(d) ? -std::numeric_limits<double>::infinity() : d;
  };
  const auto order = order_by(genes, [&](std::size_t a, std::size_t b) {
    if (result.batches[a] != result.batches[b]) return result.batches[a] > result.batches[b];
    return value(a) > value(b);
  });
  select_first(order, options.top_genes, result.selected);
  return result;
}

HighlyVariableGenes by_variance(const Table& all, const std::vector<Table>& parts, const HvgOptions& options) {
  const std::size_t genes = all.genes.size();
  Moments m = moments(all);
  HighlyVariableGenes result;
  result.means = std::move(m.means);
  result.variances = std::move(m.variances);
  result.variances_normalized.assign(genes, 0);
  std::vector<int> batches(genes);
  std::vector<std::vector<double>> ranks(genes);
  for (const Table& part : parts) {
    const std::vector<double> variances = seurat_variances(part, options.span);
    for (std::size_t gene = 0; gene < genes; ++gene) {
      result.variances_normalized[gene] += variances[gene] / static_cast<double>(parts.size());
    }
    const auto order = order_by(genes, [&](std::size_t a, std::size_t b) { return variances[a] > variances[b]; });
    for (std::size_t i = 0; i < std::min(genes, static_cast<std::size_t>(options.top_genes)); ++i) {
      ranks[order[i]].push_back(static_cast<double>(i));
      ++batches[order[i]];
    }
  }
  for (const std::vector<double>& of_gene : ranks) result.ranks.push_back(median_of(of_gene));
  const auto rank = [&](std::size_t gene) {
    return std::isnan(result.ranks[gene]) ? std::numeric_limits<double>::infinity() : result.ranks[gene];
  };
  const bool batches_first = options.flavor == HvgFlavor::kSeuratV3Paper;
  const auto order = order_by(genes, [&](std::size_t a, std::size_t b) {
    if (batches_first && batches[a] != batches[b]) return batches[a] > batches[b];
    if (rank(a) != rank(b)) return rank(a) < rank(b);
    return batches[a] > batches[b];
  });
  select_first(order, options.top_genes, result.selected);
  if (parts.size() > 1) result.batches = std::move(batches);
  return result;
}

}  // namespace

std::vector<int> HighlyVariableGenes::indices() const {
  std::vector<int> result;
  for (std::size_t gene = 0; gene < selected.size(); ++gene) {
    if (selected[gene] != 0) result.push_back(static_cast<int>(gene));
  }
  return result;
}

HighlyVariableGenes highly_variable_genes(std::span<const float> values, int cells, int genes,
                                          std::span<const std::int64_t> batch, const HvgOptions& options) {
  const auto rows = static_cast<std::size_t>(std::max(cells, 0));
  const auto columns = static_cast<std::size_t>(std::max(genes, 0));
  if (cells < 2 || genes < 1 || values.size() != rows * columns || (!batch.empty() && batch.size() != rows)) {
    throw Error(ErrorCode::kBadInput, "{} values and {} batch labels for {} cells x {} genes; at least 2 cells",
                values.size(), batch.size(), cells, genes);
  }
  if (options.top_genes < 1) throw Error(ErrorCode::kBadInput, "{} variable genes; at least 1", options.top_genes);
  const auto bad = std::ranges::find_if_not(values, [](float v) { return std::isfinite(v) && v >= 0; });
  if (bad != values.end()) {
    const auto index = static_cast<std::size_t>(bad - values.begin());
    throw Error(ErrorCode::kBadInput, "expression of cell {}, gene {} is {}", index / columns, index % columns, *bad);
  }
  Table all{values, columns, {}, {}};
  for (std::size_t gene = 0; gene < columns; ++gene) all.genes.push_back(gene);
  std::map<std::int64_t, std::vector<std::size_t>> cells_of;
  for (std::size_t cell = 0; cell < rows; ++cell) {
    all.cells.push_back(cell);
    cells_of[batch.empty() ? 0 : batch[cell]].push_back(cell);
  }
  std::vector<Table> parts;
  for (auto& [label, members] : cells_of) {
    if (members.size() < 2) throw Error(ErrorCode::kBadInput, "batch {} has a single cell; at least 2", label);
    parts.push_back({values, columns, std::move(members), all.genes});
  }
  return options.flavor == HvgFlavor::kCellRanger ? by_dispersion(all, parts, options)
                                                  : by_variance(all, parts, options);
}

}  // namespace vtissue::models
