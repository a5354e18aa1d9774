#include "stages/tile/tile_shares.h"

#include <algorithm>
#include <cmath>

namespace vtissue::stages {
namespace {

/// Sums of a mask over boxes with fractional sides.
class AreaTable {
 public:
  explicit AreaTable(const BinaryImage& mask)
      : size_(mask.size), sums_(static_cast<std::size_t>((size_.width + 1) * (size_.height + 1))) {
    for (std::int64_t y = 0; y < size_.height; ++y) {
      std::int64_t row = 0;
      for (std::int64_t x = 0; x < size_.width; ++x) {
        row += mask.pixels[static_cast<std::size_t>(y * size_.width + x)];
        at(x + 1, y + 1) = at(x + 1, y) + row;
      }
    }
  }

  /// Set area within [left, right) x [top, bottom), mask pixels.
  double covered(double left, double top, double right, double bottom) const {
    return up_to(right, bottom) - up_to(left, bottom) - up_to(right, top) + up_to(left, top);
  }

 private:
  std::int64_t& at(std::int64_t x, std::int64_t y) {
    return sums_[static_cast<std::size_t>(y * (size_.width + 1) + x)];
  }
  double value(std::int64_t x, std::int64_t y) const {
    return static_cast<double>(sums_[static_cast<std::size_t>(y * (size_.width + 1) + x)]);
  }
  /// Set area above and left of (x, y): bilinear between whole pixels, which is exact for squares of one value.
  double up_to(double x, double y) const {
    x = std::clamp(x, 0.0, static_cast<double>(size_.width));
    y = std::clamp(y, 0.0, static_cast<double>(size_.height));
    const auto column = std::min(static_cast<std::int64_t>(x), size_.width - 1);
    const auto row = std::min(static_cast<std::int64_t>(y), size_.height - 1);
    const double u = x - static_cast<double>(column), v = y - static_cast<double>(row);
    return (1 - v) * ((1 - u) * value(column, row) + u * value(column + 1, row)) +
           v * ((1 - u) * value(column, row + 1) + u * value(column + 1, row + 1));
  }

  Size<LevelPx> size_;
  std::vector<std::int64_t> sums_;
};

}  // namespace

std::vector<float> tile_shares(const io::TileSet& tiles, const BinaryImage& mask) {
  std::vector<float> shares(tiles.cells.size());
  if (mask.size.empty()) return shares;
  const AreaTable table(mask);
  const double side = tiles.tile_px * tiles.target_mpp / tiles.mask_mpp;  // mask pixels
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const Point<TargetPx> origin = tiles.origin(tiles.cells[i]);
    const double left = static_cast<double>(origin.x) * tiles.target_mpp / tiles.mask_mpp;
    const double top = static_cast<double>(origin.y) * tiles.target_mpp / tiles.mask_mpp;
    const double share = table.covered(left, top, left + side, top + side) / (side * side);
    // Differences of sums: the last bits may leave the range.
    shares[i] = static_cast<float>(std::clamp(share < 1e-9 ? 0.0 : share, 0.0, 1.0));
  }
  return shares;
}

}  // namespace vtissue::stages
