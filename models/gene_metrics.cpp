#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "core/error.h"
#include "models/metrics.h"
#include "models/noise.h"

namespace vtissue::models {
namespace {

/// Mean of the middle two for an even number.
double middle(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

/// The correlations of the genes of each list.
std::vector<std::vector<double>> gene_lists(std::span<const double> pearson, std::span<const double> rank,
                                            std::span<const int> top_n) {
  if (pearson.size() != rank.size()) {
    throw Error(ErrorCode::kBadInput, "{} correlations, but {} ranks", pearson.size(), rank.size());
  }
  if (top_n.size() < 2 || std::ranges::adjacent_find(top_n, std::greater_equal<>()) != top_n.end()) {
    throw Error(ErrorCode::kBadInput, "an area needs at least two list lengths, ascending; there are {}", top_n.size());
  }
  std::vector<std::vector<double>> lists;
  for (const int n : top_n) {
    lists.emplace_back();
    for (std::size_t gene = 0; gene < rank.size(); ++gene) {
      if (rank[gene] <= n) lists.back().push_back(pearson[gene]);
    }
    if (lists.back().empty()) throw Error(ErrorCode::kBadInput, "no gene has a variability rank up to {}", n);
  }
  return lists;
}

double trapezoids(std::span<const int> x, const std::vector<double>& y) {
  double area = 0;
  for (std::size_t i = 1; i < y.size(); ++i) area += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2;
  return area;
}

}  // namespace

std::vector<double> pearson_by_column(std::span<const double> a, std::span<const double> b, int columns) {
  if (columns < 1 || a.size() != b.size() || a.empty() || a.size() % static_cast<std::size_t>(columns) != 0) {
    throw Error(ErrorCode::kBadInput, "correlations of tables of {} and {} values with {} columns", a.size(), b.size(),
                columns);
  }
  const auto stride = static_cast<std::size_t>(columns);
  const std::size_t rows = a.size() / stride;
  std::vector<double> result(stride);
  for (std::size_t column = 0; column < stride; ++column) {
    double mean_a = 0, mean_b = 0;
    bool constant_a = true, constant_b = true;
    for (std::size_t i = column; i < a.size(); i += stride) {
      mean_a += a[i] / static_cast<double>(rows);
      mean_b += b[i] / static_cast<double>(rows);
      // By comparison: what rounding leaves of a constant's deviation would correlate with anything.
      constant_a = constant_a && a[i] == a[column];
      constant_b = constant_b && b[i] == b[column];
    }
    if (constant_a || constant_b) continue;
    double aa = 0, bb = 0, ab = 0;
    for (std::size_t i = column; i < a.size(); i += stride) {
      const double x = a[i] - mean_a;
      const double y = b[i] - mean_b;
      aa += x * x;
      bb += y * y;
      ab += x * y;
    }
    const double scale = std::sqrt(aa) * std::sqrt(bb);
    result[column] = scale > 0 ? ab / scale : 0;
  }
  return result;
}

PearsonArea pearson_area(std::span<const double> pearson, std::span<const double> rank, std::span<const int> top_n) {
  PearsonArea area;
  for (const std::vector<double>& list : gene_lists(pearson, rank, top_n)) area.medians.push_back(middle(list));
  area.raw = trapezoids(top_n, area.medians);
  area.normalized = area.raw / (top_n.back() - top_n.front());
  return area;
}

Bootstrap pearson_area_bootstrap(std::span<const double> pearson, std::span<const double> rank,
                                 std::span<const int> top_n, int resamples, std::uint64_t seed) {
  if (resamples < 1) throw Error(ErrorCode::kBadInput, "{} resamples; at least 1", resamples);
  const std::vector<std::vector<double>> lists = gene_lists(pearson, rank, top_n);
  std::size_t length = 0;
  for (const auto& list : lists) length += list.size();
  const std::array<std::uint32_t, 2> key{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  std::vector<double> areas;
  for (int resample = 0; resample < resamples; ++resample) {
    std::vector<double> medians;
    for (std::size_t list = 0; list < lists.size(); ++list) {
      std::vector<double> drawn;
      for (std::uint32_t block = 0; drawn.size() < length; ++block) {
        const auto words =
            philox4x32_10({block, static_cast<std::uint32_t>(list), static_cast<std::uint32_t>(resample), 0}, key);
        for (const std::uint32_t word : words) {
          if (drawn.size() == length) break;
          drawn.push_back(lists[list][(std::uint64_t{word} * lists[list].size()) >> 32]);
        }
      }
      medians.push_back(middle(std::move(drawn)));
    }
    areas.push_back(trapezoids(top_n, medians));
  }
  Bootstrap result;
  for (const double area : areas) result.mean += area / resamples;
  double squares = 0;
  for (const double area : areas) squares += (area - result.mean) * (area - result.mean);
  result.std = std::sqrt(squares / resamples);
  return result;
}

}  // namespace vtissue::models
