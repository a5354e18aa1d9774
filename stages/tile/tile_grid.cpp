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

Size<HalfTile> TileGrid::count() const {
  return {(target_size.width + tile_px - 1) / tile_px, (target_size.height + tile_px - 1) / tile_px};
}

GridTiles choose_tiles(const TileGrid& grid, std::span<const std::uint8_t> mask, Size<LevelPx> mask_size,
                       double mask_downsample) {
  const double side = grid.tile_px * grid.scale;    // level-0 pixels
  const double mask_side = side / mask_downsample;  // mask pixels
  const double tile_area = mask_side * mask_side;
  const auto in_region = [&](std::int64_t column, std::int64_t row) {
    return !grid.region || grid.region->contains({std::llround((static_cast<double>(column) + 0.5) * side),
                                                  std::llround((static_cast<double>(row) + 0.5) * side)});
  };

  const auto [columns, rows] = grid.count();
  std::vector<Span> across;
  for (std::int64_t column = 0; column < columns; ++column) {
    const auto left = static_cast<double>(column);
    across.push_back(cover(left * mask_side, (left + 1) * mask_side, mask_size.width));
  }

  GridTiles tiles;
  std::vector<double> sums(static_cast<std::size_t>(mask_size.width));
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto top = static_cast<double>(row);
    const Span down = cover(top * mask_side, (top + 1) * mask_side, mask_size.height);
    std::ranges::fill(sums, 0);
    for (std::size_t i = 0; i < down.weights.size(); ++i) {
      const std::uint8_t* line =
          &mask[static_cast<std::size_t>((down.first + static_cast<std::int64_t>(i)) * mask_size.width)];
      for (std::size_t x = 0; x < sums.size(); ++x) sums[x] += down.weights[i] * line[x];
    }
    for (std::int64_t column = 0; column < columns; ++column) {
      if (!in_region(column, row)) continue;
      const Span& span = across[static_cast<std::size_t>(column)];
      double covered = 0;
      for (std::size_t i = 0; i < span.weights.size(); ++i) {
        covered += span.weights[i] * sums[static_cast<std::size_t>(span.first) + i];
      }
      const double fraction = std::min(1.0, covered / tile_area);
      tiles.best_fraction = std::max(tiles.best_fraction, fraction);
      // The slack is for a tile full of tissue whose weights sum to 1 but for the last bits.
      if (fraction <= 0 || fraction + 1e-9 < grid.min_tissue) continue;
      tiles.cells.push_back({static_cast<std::int32_t>(2 * column), static_cast<std::int32_t>(2 * row)});
      tiles.tissue_fraction.push_back(static_cast<float>(fraction));
    }
  }
  return tiles;
}

}  // namespace vtissue::stages
