#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/tile_store.h"

namespace vtissue::io {

/// Whose pixels the polygons are in.
enum class GeoJsonSpace {
  kSlide,   ///< the source slide's level 0
  kVirtual  ///< the virtual slide's
};

/// Further measurements of tiles, computed as they are written.
struct TileMeasures {
  std::vector<std::string> names;
  /// Values [names] of tile `index`; those that are not finite are left out.
  std::function<std::vector<double>(std::size_t index)> measure;
};

struct GeoJsonOptions {
  std::vector<std::string> genes;  ///< of the expression table, by symbol
  bool detections = false;         ///< objects are detections instead of tiles
  GeoJsonSpace space = GeoJsonSpace::kSlide;
  Point<Level0Px> offset;  ///< taken off: where a viewer that crops to the slide's bounds has its corner
  std::optional<TileMeasures> measures;
};

/// Writes a FeatureCollection with a polygon a tile, as QuPath reads it: objectType, name, classification (whether its
/// expression was measured, predicted or is missing), and measurements: the share of tissue and, with an expression
/// table, the number of spots and the chosen genes' values. Polygons are cut at the slide's edge. A name that ends in
/// .gz is packed. Tiles are written one after another: memory does not grow with tiles times genes. Equal content gives
/// equal bytes; the file appears whole or not at all. Returns the number of tiles. Throws Error kBadInput for a table
/// of other tiles, kUsage for a gene that it has not, kOutput, kInterrupted when `stopped` says so.
std::size_t export_geojson(const std::filesystem::path& tiles, const std::filesystem::path& expression,
                           const std::filesystem::path& out, const GeoJsonOptions& options,
                           const std::function<bool()>& stopped);

}  // namespace vtissue::io
