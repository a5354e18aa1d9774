#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "io/anndata.h"
#include "io/tile_store.h"
#include "pipeline/run_context.h"
#include "stages/embed/feature_chunks.h"

namespace vtissue::stages {

/// Expression of a slide's tiles, rows in the order of tiles.h5. The values are asked for block by block: tiles times
/// genes may be more than memory holds.
struct TileExpression {
  std::vector<std::string> genes;
  std::string source;                             ///< "visium", "h5ad", "st" or "predicted"
  std::map<std::string, std::string> provenance;  ///< further strings for uns: the mapping, the predictor
  std::vector<std::int64_t> spots;                ///< [tiles]: spots it comes from; 0 where predicted
  std::size_t block_rows = 1;
  /// Block `id`, the rows [id * block_rows, …) of `n`: valid [n], the tile has expression; values [n, genes], log1p of
  /// counts per 10,000, zeros where not valid.
  std::function<FeatureRows(std::uint64_t id, std::size_t n)> read;
  /// Adds to the finished table which spots made its rows (io::add_spot_record); empty where predicted.
  std::function<void(const std::filesystem::path& path)> record;
};

/// Writes expression.h5ad (docs/stages/express.md): X dense; obs "cell_column", "cell_row" (half tiles),
/// "has_expression", "n_spots", "source"; obsm/spatial the tiles' centres in level-0 pixels; uns "source", "unit",
/// "slide_sha256" and the provenance. Returns how many tiles have expression. Throws Error kOutput, kCancelled.
std::size_t write_expression(const std::filesystem::path& path, const TileExpression& expression,
                             const io::TileSet& tiles, pipeline::RunContext& ctx);

/// A tile's centre in level-0 pixels.
struct TileCentres {
  std::vector<double> x, y;
};
TileCentres tile_centres(const io::TileSet& tiles);

}  // namespace vtissue::stages
