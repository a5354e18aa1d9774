#include "models/cancerfoundation/binning.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace vtissue::models {
namespace {

/// Linearly interpolated quantiles at linspace(0, 1, count), rounding for rounding as numpy's, since whether a
/// value equals an edge depends on it.
std::vector<double> quantile_edges(const std::vector<float>& sorted, int count) {
  std::vector<double> edges(static_cast<std::size_t>(count));
  const double step = 1.0 / (count - 1);
  const std::size_t last = sorted.size() - 1;
  for (int i = 0; i < count; ++i) {
    const double q = i == count - 1 ? 1.0 : i * step;
    const double position = static_cast<double>(last) * q;
    const double whole = std::floor(position);
    const double fraction = position - whole;
    const auto index = static_cast<std::size_t>(whole);
    const float low = sorted[index];
    const float high = sorted[std::min(index + 1, last)];
    const float difference = high - low;
    edges[static_cast<std::size_t>(i)] =
        fraction < 0.5 ? low + difference * fraction : high - difference * (1.0 - fraction);
  }
  return edges;
}

void check_bin_count(std::span<const float> values, std::size_t size) {
  if (size != values.size()) {
    throw Error(ErrorCode::kUsage, "binning of {} values with an array of {}", values.size(), size);
  }
}

}  // namespace

BinRanges bin_ranges(std::span<const float> values, int bins) {
  if (bins < 3) throw Error(ErrorCode::kUsage, "binning into {} bins; at least 3", bins);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw Error(ErrorCode::kBadInput, "expression of gene {} of the list is {}", i + 1, values[i]);
    }
  }
  BinRanges ranges{{}, std::vector<int>(values.size()), std::vector<int>(values.size())};
  const bool skip_zeros = std::any_of(values.begin(), values.end(), [](float v) { return v <= 0; });
  std::vector<float> sorted;
  sorted.reserve(values.size());
  std::copy_if(values.begin(), values.end(), std::back_inserter(sorted),
               [&](float v) { return !skip_zeros || v != 0; });
  if (sorted.empty()) return ranges;
  std::sort(sorted.begin(), sorted.end());
  ranges.edges = quantile_edges(sorted, bins - 1);
  const auto count = [&](auto end) { return static_cast<int>(end - ranges.edges.begin()); };
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double value = values[i];
    if (skip_zeros && value == 0) continue;
    ranges.left[i] = count(std::upper_bound(ranges.edges.begin(), ranges.edges.end(), value));
    ranges.right[i] = count(std::lower_bound(ranges.edges.begin(), ranges.edges.end(), value));
  }
  return ranges;
}

void bin_expression(std::span<const float> values, int bins, std::span<float> out) {
  check_bin_count(values, out.size());
  const BinRanges ranges = bin_ranges(values, bins);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>((ranges.left[i] + ranges.right[i] + 1) / 2);
  }
}

void bin_expression(std::span<const float> values, int bins, std::span<const double> uniforms, std::span<float> out) {
  check_bin_count(values, out.size());
  check_bin_count(values, uniforms.size());
  const BinRanges ranges = bin_ranges(values, bins);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(std::ceil(uniforms[i] * (ranges.right[i] - ranges.left[i]) + ranges.left[i]));
  }
}

}  // namespace vtissue::models
