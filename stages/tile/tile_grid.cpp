#include "stages/tile/tile_grid.h"

#include <algorithm>
#include <cmath>

namespace vtissue::stages {
namespace {

/// Mask pixels [first, first + weights.size()) along one axis and how much of each lies in the tile.
struct Span {
  std::int64_t first = 0;
  std::vector<double> weights;
};

/// `begin`, `end` in mask pixels; clipped to the mask.
Span cover(double begin, double end, std::int64_t limit) {
  Span span;
  span.first = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(begin)), 0, limit);
  const auto last = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::ceil(end)), span.first, limit);
  for (std::int64_t i = span.first; i < last; ++i) {
    const auto left = static_cast<double>(i);
    span.weights.push_back(std::max(0.0, std::min(end, left + 1) - std::max(begin, left)));
  }
  return span;
}

}  // namespace

std::vector<std::int32_t> TileGrid::cells_over(std::int64_t extent) const {
  std::vector<std::int32_t> cells;
  std::int64_t begin = 0;
  for (std::int32_t cell = half_shift ? -1 : 0; cells.empty() || begin + tile_px < extent; cell += 2) {
    begin = std::int64_t{cell} * stride_px() / 2;
    cells.push_back(cell);
  }
  return cells;
}

Size<HalfTile> TileGrid::count() const {
  return {static_cast<std::int64_t>(cells_over(target_size.width).size()),
          static_cast<std::int64_t>(cells_over(target_size.height).size())};
}

GridTiles choose_tiles(const TileGrid& grid, std::span<const std::uint8_t> mask, Size<LevelPx> mask_size,
                       double mask_downsample) {
  // Places in units of a tile's side.
  const double per_cell = 0.5 * (static_cast<double>(grid.stride_px()) / grid.tile_px);
  const double side = grid.tile_px * grid.scale;    // level-0 pixels
  const double mask_side = side / mask_downsample;  // mask pixels
  const double tile_area = mask_side * mask_side;
  const auto in_region = [&](double left, double top) {
    return !grid.region || grid.region->contains({std::llround((left + 0.5) * side), std::llround((top + 0.5) * side)});
  };
  const auto inside = [&](std::int32_t cell, std::int64_t extent) {
    const std::int64_t begin = std::int64_t{cell} * grid.stride_px() / 2;
    return static_cast<double>(std::min(begin + grid.tile_px, extent) - std::max<std::int64_t>(begin, 0)) /
           grid.tile_px;
  };

  const std::vector<std::int32_t> columns = grid.cells_over(grid.target_size.width);
  std::vector<Span> across;
  for (const std::int32_t column : columns) {
    const double left = column * per_cell;
    across.push_back(cover(left * mask_side, (left + 1) * mask_side, mask_size.width));
  }

  GridTiles tiles;
  std::vector<double> sums(static_cast<std::size_t>(mask_size.width));
  for (const std::int32_t row : grid.cells_over(grid.target_size.height)) {
    const double top = row * per_cell;
    const Span down = cover(top * mask_side, (top + 1) * mask_side, mask_size.height);
    std::ranges::fill(sums, 0);
    for (std::size_t i = 0; i < down.weights.size(); ++i) {
      const std::uint8_t* line =
          &mask[static_cast<std::size_t>((down.first + static_cast<std::int64_t>(i)) * mask_size.width)];
      for (std::size_t x = 0; x < sums.size(); ++x) sums[x] += down.weights[i] * line[x];
    }
    for (std::size_t at = 0; at < columns.size(); ++at) {
      const std::int32_t column = columns[at];
      if (!in_region(column * per_cell, top)) continue;
      if (inside(column, grid.target_size.width) * inside(row, grid.target_size.height) + 1e-9 < grid.min_inside) {
        continue;
      }
      const Span& span = across[at];
      double covered = 0;
      for (std::size_t i = 0; i < span.weights.size(); ++i) {
        covered += span.weights[i] * sums[static_cast<std::size_t>(span.first) + i];
      }
      const double fraction = std::min(1.0, covered / tile_area);
      tiles.best_fraction = std::max(tiles.best_fraction, fraction);
      // The slack is for a tile full of tissue whose weights sum to 1 but for the last bits.
      if (fraction <= 0 || fraction + 1e-9 < grid.min_tissue) continue;
      tiles.cells.push_back({column, row});
      tiles.tissue_fraction.push_back(static_cast<float>(fraction));
    }
  }
  return tiles;
}

}  // namespace vtissue::stages
