#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "io/patch_coordinates.h"
#include "io/tile_store.h"

namespace vtissue::stages {

/// Tiles at the places that a file of CLAM or TRIDENT states.
struct GivenTiles {
  double target_mpp = 0;                   ///< at which a tile's side is the patch's, as given or before it was rounded
  std::optional<io::TileLattice> lattice;  ///< nothing: the base lattice
  std::vector<TileCell> cells;             ///< sorted, unique
  double largest_shift_px = 0;             ///< level-0 pixels between a patch and its tile, either axis, at the most
};

/// The first lattice that has them all: the base one or half of it, at the µm/px wanted if side and places are rounded
/// from it, else at that of the side, to within half a level-0 pixel as the tools round; one of another stride and
/// offset, likewise; else one of single target pixels, which shifts a patch by half of one at the most. Pure; `path` is
/// for messages. Throws Error kBadInput: another slide's size, patches beside the slide or twice at a place, a side
/// that is not tile_px at wanted_mpp to within a tenth.
GivenTiles place_given_tiles(const io::PatchCoordinates& given, Size<Level0Px> slide, double source_mpp, int tile_px,
                             double wanted_mpp, const std::filesystem::path& path);

/// Row of `corners` that lies on each of the tiles, to within a target pixel; corners on no tile are left out. Throws
/// Error kBadInput that names the first tile that has none, and how many have not.
std::vector<std::size_t> rows_of_tiles(std::span<const Point<Level0Px>> corners, const io::TileSet& tiles,
                                       const std::filesystem::path& path);

}  // namespace vtissue::stages
