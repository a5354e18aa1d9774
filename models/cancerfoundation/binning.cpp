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

}  // namespace

void bin_expression(std::span<const float> values, int bins, std::span<float> out) {
  if (bins < 3 || out.size() != values.size()) {
    throw Error(ErrorCode::kUsage, "binning of {} values into {} bins and an array of {}", values.size(), bins,
                out.size());
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw Error(ErrorCode::kBadInput, "expression of gene {} of the list is {}", i + 1, values[i]);
    }
  }
  const bool skip_zeros = std::any_of(values.begin(), values.end(), [](float v) { return v <= 0; });
  std::vector<float> sorted;
  sorted.reserve(values.size());
  std::copy_if(values.begin(), values.end(), std::back_inserter(sorted),
               [&](float v) { return !skip_zeros || v != 0; });
  if (sorted.empty()) {
    std::fill(out.begin(), out.end(), 0.0f);
    return;
  }
  std::sort(sorted.begin(), sorted.end());
  const std::vector<double> edges = quantile_edges(sorted, bins - 1);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double value = values[i];
    if (skip_zeros && value == 0) {
      out[i] = 0.0f;
      continue;
    }
    const auto not_above = std::upper_bound(edges.begin(), edges.end(), value) - edges.begin();
    const auto below = std::lower_bound(edges.begin(), edges.end(), value) - edges.begin();
    out[i] = static_cast<float>((not_above + below + 1) / 2);
  }
}

}  // namespace vtissue::models
