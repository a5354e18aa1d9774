#include "io/expression.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <unordered_map>

#include "io/spot_grid.h"

namespace vtissue::io {
namespace {

/// The lower median: an element of the data, whatever its number.
double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

/// From a spot of the array to a neighbour.
struct ArrayStep {
  std::int64_t rows, columns;
};

/// Median distance of spots that are one of `steps` apart on the array.
std::optional<double> median_step(std::span<const std::int64_t> array_row, std::span<const std::int64_t> array_column,
                                  std::span<const double> x, std::span<const double> y,
                                  std::span<const ArrayStep> steps) {
  constexpr std::int64_t kLargestIndex = 1 << 20;
  const auto key = [](std::int64_t row, std::int64_t column) { return row * 4 * kLargestIndex + column; };
  std::unordered_map<std::int64_t, std::size_t> spots;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::abs(array_row[i]) > kLargestIndex || std::abs(array_column[i]) > kLargestIndex) return std::nullopt;
    spots.emplace(key(array_row[i], array_column[i]), i);
  }
  std::vector<double> distances;
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (const ArrayStep step : steps) {
      const auto neighbor = spots.find(key(array_row[i] + step.rows, array_column[i] + step.columns));
      if (neighbor == spots.end()) continue;
      distances.push_back(std::hypot(x[neighbor->second] - x[i], y[neighbor->second] - y[i]));
    }
  }
  if (distances.empty()) return std::nullopt;
  return median(std::move(distances));
}

}  // namespace

ExpressionMatrix select_rows(const ExpressionMatrix& matrix, std::span<const std::size_t> rows) {
  ExpressionMatrix selected;
  selected.rows = rows.size();
  selected.genes = matrix.genes;
  selected.gene_ids = matrix.gene_ids;
  selected.indptr.push_back(0);
  for (const std::size_t row : rows) {
    if (!matrix.totals.empty()) selected.totals.push_back(matrix.totals.at(row));
    const auto begin = matrix.indptr.at(row), end = matrix.indptr.at(row + 1);
    selected.indices.insert(selected.indices.end(), matrix.indices.begin() + begin, matrix.indices.begin() + end);
    selected.values.insert(selected.values.end(), matrix.values.begin() + begin, matrix.values.begin() + end);
    selected.indptr.push_back(static_cast<std::int64_t>(selected.values.size()));
  }
  return selected;
}

ExpressionMatrix select_columns(const ExpressionMatrix& matrix, std::span<const std::uint8_t> keep) {
  constexpr std::int32_t kDropped = -1;
  ExpressionMatrix selected;
  selected.rows = matrix.rows;
  selected.totals = matrix.totals;
  std::vector<std::int32_t> new_column(keep.size(), kDropped);
  for (std::size_t column = 0; column < keep.size(); ++column) {
    if (keep[column] == 0) continue;
    new_column[column] = static_cast<std::int32_t>(selected.genes.size());
    selected.genes.push_back(matrix.genes.at(column));
    if (!matrix.gene_ids.empty()) selected.gene_ids.push_back(matrix.gene_ids.at(column));
  }
  selected.indptr.push_back(0);
  for (std::size_t row = 0; row < matrix.rows; ++row) {
    for (auto i = matrix.indptr[row]; i < matrix.indptr[row + 1]; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const std::int32_t column = new_column[static_cast<std::size_t>(matrix.indices[at])];
      if (column == kDropped) continue;
      selected.indices.push_back(column);
      selected.values.push_back(matrix.values[at]);
    }
    selected.indptr.push_back(static_cast<std::int64_t>(selected.values.size()));
  }
  return selected;
}

std::optional<double> median_neighbor_distance(std::span<const double> x, std::span<const double> y) {
  if (x.size() < 2) return std::nullopt;
  const auto [left, right] = std::ranges::minmax(x);
  const auto [top, bottom] = std::ranges::minmax(y);
  const double extent = std::max(right - left, bottom - top);
  if (extent <= 0) return std::nullopt;
  // About one spot a cell, then rings of growing reach until there is a neighbour.
  const double spread = std::max((right - left) * (bottom - top), extent * extent / static_cast<double>(x.size()));
  const double cell = std::sqrt(spread / static_cast<double>(x.size()));
  const SpotGrid grid(x, y, cell);
  constexpr std::size_t kMostSpots = 20000;
  const std::size_t step = x.size() / kMostSpots + 1;
  std::vector<double> distances;
  std::vector<SpotGrid::Hit> hits;
  for (std::size_t i = 0; i < x.size(); i += step) {
    double nearest = std::numeric_limits<double>::infinity();
    for (double reach = cell; !std::isfinite(nearest) && reach < 4 * extent; reach *= 2) {
      grid.within(x[i], y[i], reach, hits);
      for (const auto& hit : hits) {
        // Two spots at one place are a duplicate, not neighbours.
        if (hit.distance > 0) nearest = std::min(nearest, hit.distance);
      }
    }
    if (std::isfinite(nearest)) distances.push_back(nearest);
  }
  if (distances.empty()) return std::nullopt;
  return median(std::move(distances));
}

std::optional<double> hexagonal_pitch(std::span<const std::int64_t> array_row,
                                      std::span<const std::int64_t> array_column, std::span<const double> x,
                                      std::span<const double> y) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    if ((array_row[i] + array_column[i]) % 2 != 0) return std::nullopt;
  }
  constexpr std::array<ArrayStep, 1> kAlongTheRow{{{0, 2}}};
  return median_step(array_row, array_column, x, y, kAlongTheRow);
}

std::optional<double> square_pitch(std::span<const std::int64_t> array_row, std::span<const std::int64_t> array_column,
                                   std::span<const double> x, std::span<const double> y) {
  constexpr std::array<ArrayStep, 2> kBothWays{{{0, 1}, {1, 0}}};
  return median_step(array_row, array_column, x, y, kBothWays);
}

}  // namespace vtissue::io
