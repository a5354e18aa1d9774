#include "stages/stitch/block_plan.h"

#include <algorithm>

namespace vtissue::stages {

BlockPlan::BlockPlan(const io::TileSet& tiles, const io::PyramidLayout& layout, int block_px)
    : columns_(layout.blocks_x),
      block_px_(block_px),
      tiles_(static_cast<std::size_t>(layout.blocks_x) * static_cast<std::size_t>(layout.blocks_y)) {
  for (std::size_t i = 0; i < tiles.cells.size(); ++i) {
    const Point<TargetPx> first = tiles.origin(tiles.cells[i]);
    const std::int64_t last_column = std::min<std::int64_t>((first.x + tiles.tile_px - 1) / block_px, columns_ - 1);
    const std::int64_t last_row = std::min<std::int64_t>((first.y + tiles.tile_px - 1) / block_px, layout.blocks_y - 1);
    if (first.x + tiles.tile_px <= 0 || first.y + tiles.tile_px <= 0) continue;  // shows nowhere
    for (std::int64_t row = std::max<std::int64_t>(first.y, 0) / block_px; row <= last_row; ++row) {
      for (std::int64_t column = std::max<std::int64_t>(first.x, 0) / block_px; column <= last_column; ++column) {
        tiles_[id(static_cast<int>(column), static_cast<int>(row))].push_back(static_cast<std::uint32_t>(i));
      }
    }
  }
}

void paste_tile(std::span<const std::uint8_t> rgb, Point<TargetPx> tile, int tile_px, Point<TargetPx> block,
                int block_px, std::span<std::uint8_t> out) {
  const Point<TargetPx> offset = tile - block;  // of the tile in the block; may be negative
  const std::int64_t left = std::max<std::int64_t>(offset.x, 0);
  const std::int64_t right = std::min<std::int64_t>(offset.x + tile_px, block_px);
  const std::int64_t top = std::max<std::int64_t>(offset.y, 0);
  const std::int64_t bottom = std::min<std::int64_t>(offset.y + tile_px, block_px);
  if (left >= right) return;
  for (std::int64_t y = top; y < bottom; ++y) {
    const auto from = static_cast<std::size_t>((y - offset.y) * tile_px + left - offset.x) * 3;
    const auto to = static_cast<std::size_t>(y * block_px + left) * 3;
    std::ranges::copy(rgb.subspan(from, static_cast<std::size_t>(right - left) * 3), out.subspan(to).begin());
  }
}

}  // namespace vtissue::stages
