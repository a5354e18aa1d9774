#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/units.h"

namespace vtissue::io {

/// `tiles.h5`: the tiles that stages work on, and the tissue mask they come from. docs/formats.md has
/// the layout on disk.
struct TileSet {
  int tile_px = 0;         ///< side of a tile at target_mpp
  double target_mpp = 0;   ///< µm/px of the virtual slide
  double source_mpp = 0;   ///< µm/px of the slide's level 0
  std::string mpp_source;  ///< where source_mpp comes from
  Size<Level0Px> slide_size;
  Size<TargetPx> target_size;
  std::string slide_sha256;
  std::string settings = "{}";  ///< of the stage that made it, a JSON object

  std::vector<TileCell> cells;         ///< sorted, unique
  std::vector<float> tissue_fraction;  ///< [N], 0..1
  /// Share of each tile, [N], 0..1, that each kind of artifact covers ("pen", "border", "blur"); stores of earlier
  /// versions have none.
  std::map<std::string, std::vector<float>> artifacts;
  std::vector<std::uint8_t> mask;  ///< [mask_size.height, mask_size.width], 0 or 1
  Size<LevelPx> mask_size;
  double mask_mpp = 0;  ///< µm per mask pixel

  /// Top-left corner at the target µm/px: half tiles times tile_px / 2.
  Point<TargetPx> origin(TileCell cell) const {
    return {std::int64_t{cell.column} * tile_px / 2, std::int64_t{cell.row} * tile_px / 2};
  }
};

/// Throws Error kOutput.
void write_tiles(const std::filesystem::path& path, const TileSet& tiles);

/// Throws Error kBadInput: missing, not a tile store, another format version, inconsistent.
TileSet read_tiles(const std::filesystem::path& path);

}  // namespace vtissue::io
