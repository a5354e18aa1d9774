#include "io/spot_grid.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace vtissue::io {

SpotGrid::SpotGrid(std::span<const double> x, std::span<const double> y, double cell_px)
    : x_(x), y_(y), cell_(std::max(cell_px, 1e-9)) {
  if (!x.empty()) {
    const auto [left, right] = std::ranges::minmax(x);
    const auto [top, bottom] = std::ranges::minmax(y);
    left_ = left;
    top_ = top;
    const double most_cells = 4.0 * static_cast<double>(x.size()) + 1024;
    while (((right - left) / cell_ + 1) * ((bottom - top) / cell_ + 1) > most_cells) cell_ *= 2;
    columns_ = static_cast<std::int64_t>((right - left) / cell_) + 1;
    rows_ = static_cast<std::int64_t>((bottom - top) / cell_) + 1;
  }
  begin_.assign(static_cast<std::size_t>(columns_ * rows_) + 1, 0);
  std::vector<std::size_t> cells(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    cells[i] = static_cast<std::size_t>(row_of(y[i]) * columns_ + column_of(x[i]));
    ++begin_[cells[i] + 1];
  }
  std::partial_sum(begin_.begin(), begin_.end(), begin_.begin());
  spots_.resize(x.size());
  std::vector<std::size_t> next(begin_.begin(), begin_.end() - 1);
  for (std::size_t i = 0; i < x.size(); ++i) spots_[next[cells[i]]++] = static_cast<std::int32_t>(i);
}

std::int64_t SpotGrid::column_of(double px) const {
  return static_cast<std::int64_t>(
      std::clamp(std::floor((px - left_) / cell_), 0.0, static_cast<double>(columns_ - 1)));
}

std::int64_t SpotGrid::row_of(double py) const {
  return static_cast<std::int64_t>(std::clamp(std::floor((py - top_) / cell_), 0.0, static_cast<double>(rows_ - 1)));
}

void SpotGrid::within(double px, double py, double reach, std::vector<Hit>& hits) const {
  hits.clear();
  const std::int64_t last_column = column_of(px + reach), last_row = row_of(py + reach);
  for (std::int64_t row = row_of(py - reach); row <= last_row; ++row) {
    for (std::int64_t column = column_of(px - reach); column <= last_column; ++column) {
      const auto cell = static_cast<std::size_t>(row * columns_ + column);
      for (std::size_t i = begin_[cell]; i < begin_[cell + 1]; ++i) {
        const auto spot = static_cast<std::size_t>(spots_[i]);
        const double distance = std::hypot(x_[spot] - px, y_[spot] - py);
        if (distance <= reach) hits.push_back({spots_[i], distance});
      }
    }
  }
  std::ranges::sort(hits, {}, &Hit::spot);
}

}  // namespace vtissue::io
