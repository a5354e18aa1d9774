#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/units.h"

namespace vtissue::stages {

/// The base grid over a slide and what decides which of its tiles are kept.
struct TileGrid {
  Size<TargetPx> target_size;           ///< the slide at the target µm/px
  double scale = 1;                     ///< level-0 pixels per target pixel
  int tile_px = 0;                      ///< side of a tile, target pixels
  double min_tissue = 0;                ///< least share of the tile's area, 0..1
  std::optional<Box<Level0Px>> region;  ///< only tiles whose centre lies inside

  /// Tiles across and down: ceil, so that every pixel of the slide is in a tile; those at the right and
  /// bottom edge reach over it.
  Size<HalfTile> count() const;
};

struct GridTiles {
  std::vector<TileCell> cells;         ///< even columns and rows; sorted, unique
  std::vector<float> tissue_fraction;  ///< [cells], share of the tile's whole area, 0..1
  double best_fraction = 0;            ///< largest share of any tile in the region, kept or not
};

/// Tiles with a share of tissue of at least min_tissue and above 0. `mask` [mask_size], 0 or 1, starts at
/// the slide's corner; its pixels have a side of `mask_downsample` level-0 pixels and count with the area
/// that a tile covers of them. A tile's share does not depend on other tiles. Pure.
GridTiles choose_tiles(const TileGrid& grid, std::span<const std::uint8_t> mask, Size<LevelPx> mask_size,
                       double mask_downsample);

}  // namespace vtissue::stages
