#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/units.h"

namespace vtissue::io {

/// Where cells lie if not on the base lattice, whose tiles touch from the slide's corner on: cell (0, 0) is at
/// `offset`, the next one `cell_px` further, a tile's neighbour `stride_px`.
struct TileLattice {
  int stride_px = 0;       ///< target pixels from a tile to the next; less than the tile's side where they overlap
  int cell_px = 0;         ///< target pixels of a cell's unit: stride_px / 2, or 1 where tiles lie anywhere
  Point<TargetPx> offset;  ///< of cell (0, 0)
  bool operator==(const TileLattice&) const = default;
};

/// `tiles.h5`: the tiles that stages work on, and the tissue mask they come from. docs/formats.md has
/// the layout on disk.
struct TileSet {
  int tile_px = 0;          ///< side of a tile at target_mpp
  double target_mpp = 0;    ///< µm/px of the virtual slide
  double source_mpp = 0;    ///< µm/px of the slide's level 0
  double pixel_aspect = 1;  ///< height by width of the file's pixels; what is in level-0 pixels here counts square ones
  bool to_srgb = false;     ///< the slide's pixels are converted by its ICC profile
  std::string mpp_source;   ///< where source_mpp comes from
  Size<Level0Px> slide_size;
  Size<TargetPx> target_size;
  std::string slide_sha256;
  std::string settings = "{}";         ///< of the stage that made it, a JSON object
  std::optional<TileLattice> lattice;  ///< nothing: the base lattice; then a cell's unit is half a tile

  std::vector<TileCell> cells;         ///< sorted, unique
  std::vector<float> tissue_fraction;  ///< [N], 0..1
  /// Share of each tile, [N], 0..1, that each kind of artifact covers ("pen", "border", "blur"); stores of earlier
  /// versions have none.
  std::map<std::string, std::vector<float>> artifacts;
  std::vector<std::uint8_t> mask;  ///< [mask_size.height, mask_size.width], 0 or 1
  Size<LevelPx> mask_size;
  double mask_mpp = 0;  ///< µm per mask pixel

  /// Top-left corner at the target µm/px; on the base lattice half tiles times tile_px / 2.
  Point<TargetPx> origin(TileCell cell) const {
    if (!lattice) return {std::int64_t{cell.column} * tile_px / 2, std::int64_t{cell.row} * tile_px / 2};
    return {lattice->offset.x + std::int64_t{cell.column} * lattice->cell_px,
            lattice->offset.y + std::int64_t{cell.row} * lattice->cell_px};
  }
  /// Level-0 pixels per target pixel.
  double scale() const { return target_mpp / source_mpp; }
  /// The same corner in level-0 pixels, rounded.
  Point<Level0Px> level0_origin(TileCell cell) const;
  /// Side of a tile in level-0 pixels.
  double level0_side() const { return tile_px * scale(); }
  /// Cells from a tile to the one beside it that it touches, or of an overlapping lattice comes nearest to touching.
  std::int32_t neighbour_cells() const;
  /// The lattice as text, for the stores that repeat the cells; empty for the base lattice.
  std::string grid() const;
};

/// Throws Error kOutput.
void write_tiles(const std::filesystem::path& path, const TileSet& tiles);

/// Throws Error kBadInput: missing, not a tile store, another format version, inconsistent.
TileSet read_tiles(const std::filesystem::path& path);

}  // namespace vtissue::io
