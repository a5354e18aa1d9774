#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace vtissue::io {

/// Points binned into square cells, for neighbour searches. Immutable, thread-safe; keeps views of x and y.
class SpotGrid {
 public:
  /// `cell_px` is raised where the points are spread so far that the cells would outnumber them by much.
  SpotGrid(std::span<const double> x, std::span<const double> y, double cell_px);

  struct Hit {
    std::int32_t spot;
    double distance;
  };
  /// Spots with distance <= reach of (px, py), by ascending index. `hits` is cleared first.
  void within(double px, double py, double reach, std::vector<Hit>& hits) const;

 private:
  std::int64_t column_of(double px) const;
  std::int64_t row_of(double py) const;
  std::span<const double> x_, y_;
  double cell_, left_ = 0, top_ = 0;
  std::int64_t columns_ = 1, rows_ = 1;
  std::vector<std::size_t> begin_;   // [columns * rows + 1]
  std::vector<std::int32_t> spots_;  // by cell
};

}  // namespace vtissue::io
