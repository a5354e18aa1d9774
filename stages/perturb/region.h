#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "core/units.h"
#include "io/geojson.h"
#include "io/tile_store.h"

namespace vtissue::stages {

/// Polygons of a GeoJSON file (io/geojson.h), as QuPath and other viewers export annotations: coordinates are pixels of
/// level 0 of the picture they were drawn on. Immutable.
class RegionPolygons {
 public:
  /// Throws Error kBadInput as io::read_geojson(), and for a file without a polygon unless it `may_be_empty`.
  static RegionPolygons read(const std::filesystem::path& path, bool may_be_empty = false);

  /// By the even-odd rule within a polygon (holes are not in it), in any of the polygons.
  bool contains(double x, double y) const;
  std::size_t size() const { return polygons_.size(); }

 private:
  std::vector<io::GeoPolygon> polygons_;
};

/// Which tiles are changed; nothing set and no file: all.
struct RegionOptions {
  std::vector<TileCell> cells;               ///< those tiles, by column and row in half tiles
  std::optional<std::array<double, 4>> box;  ///< x, y, width, height in pixels
  bool may_be_empty = false;                 ///< no tile in it, or no polygon in the file, is no error
  bool of_virtual = false;  ///< box and polygons are in pixels of the virtual slide, not of the real one's level 0

  bool whole_slide() const { return cells.empty() && !box; }
  nlohmann::json to_json() const;
};

/// "x,y,width,height" → a box; nothing for a text that is not four numbers. Throws Error kUsage for an empty box.
std::optional<std::array<double, 4>> parse_region_box(std::string_view text);
/// "column,row" of a tile as tables and tiles.h5 have it. Throws Error kUsage.
TileCell parse_tile(std::string_view text);

/// Indices in tiles.cells of the tiles whose centre lies in the region, ascending. Throws Error kBadInput if there is
/// none, or if a tile that is named is none of the slide's.
std::vector<std::size_t> region_tiles(const io::TileSet& tiles, const RegionOptions& options,
                                      const std::optional<std::filesystem::path>& geojson);

/// The tiles of a slide that a changed region concerns; indices in tiles.cells, ascending.
struct RegionExtent {
  std::vector<std::size_t> region;  ///< whose conditions change
  std::vector<std::size_t> drawn;   ///< those and the ring around them: what is drawn anew
  std::vector<std::size_t> rim;     ///< the ring around that: what its windows see, which stays as it was

  bool whole_slide(const io::TileSet& tiles) const { return drawn.size() == tiles.cells.size(); }
  /// Of drawn and rim, ascending.
  std::vector<std::size_t> seen() const;
};

/// As region_tiles(); throws Error kUsage for a grid whose tiles overlap.
RegionExtent region_extent(const io::TileSet& tiles, const RegionOptions& options,
                           const std::optional<std::filesystem::path>& geojson);

}  // namespace vtissue::stages
