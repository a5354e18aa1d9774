#include "stages/express/expression_table.h"

#include "core/error.h"

namespace vtissue::stages {

TileCentres tile_centres(const io::TileSet& tiles) {
  const double scale = tiles.target_mpp / tiles.source_mpp;
  TileCentres centres;
  for (const TileCell cell : tiles.cells) {
    const Point<TargetPx> origin = tiles.origin(cell);
    centres.x.push_back((static_cast<double>(origin.x) + tiles.tile_px / 2.0) * scale);
    centres.y.push_back((static_cast<double>(origin.y) + tiles.tile_px / 2.0) * scale);
  }
  return centres;
}

io::AnnData expression_table(const TileExpression& expression, const io::TileSet& tiles) {
  const std::size_t n = tiles.cells.size();
  const std::size_t genes = expression.genes.size();
  io::AnnData table;
  table.x.rows = n;
  table.x.genes = expression.genes;
  table.x.indptr.push_back(0);
  for (std::size_t row = 0; row < n; ++row) {
    for (std::size_t gene = 0; gene < genes; ++gene) {
      const float value = expression.values[row * genes + gene];
      if (value == 0) continue;
      table.x.indices.push_back(static_cast<std::int32_t>(gene));
      table.x.values.push_back(value);
    }
    table.x.indptr.push_back(static_cast<std::int64_t>(table.x.values.size()));
  }

  std::vector<std::int64_t> columns, rows;
  std::vector<std::string> sources;
  for (std::size_t i = 0; i < n; ++i) {
    const TileCell cell = tiles.cells[i];
    table.obs.index.push_back(fmt::format("tile-{}-{}", cell.column, cell.row));
    columns.push_back(cell.column);
    rows.push_back(cell.row);
    sources.push_back(expression.valid[i] != 0 ? expression.source : "none");
  }
  table.obs.columns = {{"cell_column", std::move(columns)},
                       {"cell_row", std::move(rows)},
                       {"has_expression", expression.valid},
                       {"n_spots", expression.spots},
                       {"source", std::move(sources)}};
  table.var.index = expression.genes;

  const TileCentres centres = tile_centres(tiles);
  std::vector<double>& spatial = table.spatial.emplace();
  for (std::size_t i = 0; i < n; ++i) {
    spatial.push_back(centres.x[i]);
    spatial.push_back(centres.y[i]);
  }
  table.strings = expression.provenance;
  table.strings["source"] = expression.source;
  table.strings["slide_sha256"] = tiles.slide_sha256;
  table.strings["unit"] = "log1p of counts per 10,000";
  return table;
}

}  // namespace vtissue::stages
