#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/units.h"

namespace vtissue::stages {

/// A regular grid over a slide and what decides which of its tiles are kept.
struct TileGrid {
  Size<TargetPx> target_size;           ///< the slide at the target µm/px
  double scale = 1;                     ///< level-0 pixels per target pixel
  int tile_px = 0;                      ///< side of a tile, target pixels
  double min_tissue = 0;                ///< least share of the tile's area, 0..1
  std::optional<Box<Level0Px>> region;  ///< only tiles whose centre lies inside
  int overlap_px = 0;                   ///< that neighbouring tiles share, target pixels; even, below tile_px
  bool half_shift = false;              ///< the grid begins half a stride before the slide's corner, in both axes
  double min_inside = 0;                ///< least share of a tile's area that lies on the slide, 0..1

  int stride_px() const { return tile_px - overlap_px; }
  /// Cells of the columns (or rows) over `extent` target pixels: as many as it takes for every pixel of the slide to be
  /// in one. Those at the edges reach over it.
  std::vector<std::int32_t> cells_over(std::int64_t extent) const;
  /// Tiles across and down.
  Size<HalfTile> count() const;
};

struct GridTiles {
  std::vector<TileCell> cells;         ///< even columns and rows, odd ones of a half-shifted grid; sorted, unique
  std::vector<float> tissue_fraction;  ///< [cells], share of the tile's whole area, 0..1
  double best_fraction = 0;            ///< largest share of any tile in the region, kept or not
};

/// Tiles with a share of tissue of at least min_tissue and above 0. `mask` [mask_size], 0 or 1, starts at
/// the slide's corner; its pixels have a side of `mask_downsample` level-0 pixels and count with the area
/// that a tile covers of them. A tile's share does not depend on other tiles. Pure.
GridTiles choose_tiles(const TileGrid& grid, std::span<const std::uint8_t> mask, Size<LevelPx> mask_size,
                       double mask_downsample);

}  // namespace vtissue::stages
