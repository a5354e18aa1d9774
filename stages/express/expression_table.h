#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "io/anndata.h"
#include "io/tile_store.h"

namespace vtissue::stages {

/// Expression of a slide's tiles, rows in the order of tiles.h5.
struct TileExpression {
  std::vector<std::string> genes;
  std::vector<float> values;                      ///< [tiles, genes]: log1p of counts per 10,000; zeros where not valid
  std::vector<std::uint8_t> valid;                ///< [tiles]: the tile has expression
  std::vector<std::int64_t> spots;                ///< [tiles]: spots it comes from; 0 where predicted
  std::string source;                             ///< "visium", "h5ad", "st" or "predicted"
  std::map<std::string, std::string> provenance;  ///< further strings for uns: the mapping, the predictor
};

/// expression.h5ad (docs/stages/express.md): X dense; obs "cell_column", "cell_row" (half tiles),
/// "has_expression", "n_spots", "source"; obsm/spatial the tiles' centres in level-0 pixels; uns "source",
/// "unit", "slide_sha256" and the provenance. Pure.
io::AnnData expression_table(const TileExpression& expression, const io::TileSet& tiles);

/// A tile's centre in level-0 pixels.
struct TileCentres {
  std::vector<double> x, y;
};
TileCentres tile_centres(const io::TileSet& tiles);

}  // namespace vtissue::stages
