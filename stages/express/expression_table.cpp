#include "stages/express/expression_table.h"

#include <algorithm>

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

namespace {

/// Everything of the table but X's entries.
io::AnnData expression_frame(const TileExpression& expression, const std::vector<std::uint8_t>& valid,
                             const io::TileSet& tiles) {
  const std::size_t n = tiles.cells.size();
  io::AnnData table;
  table.x.genes = expression.genes;
  table.var.index = expression.genes;

  std::vector<std::int64_t> columns, rows;
  std::vector<std::string> sources;
  for (std::size_t i = 0; i < n; ++i) {
    const TileCell cell = tiles.cells[i];
    table.obs.index.push_back(fmt::format("tile-{}-{}", cell.column, cell.row));
    columns.push_back(cell.column);
    rows.push_back(cell.row);
    sources.push_back(valid[i] != 0 ? expression.source : "none");
  }
  table.obs.columns = {{"cell_column", std::move(columns)},
                       {"cell_row", std::move(rows)},
                       {"has_expression", valid},
                       {"n_spots", expression.spots},
                       {"source", std::move(sources)}};

  const TileCentres centres = tile_centres(tiles);
  std::vector<double>& spatial = table.spatial.emplace();
  for (std::size_t i = 0; i < n; ++i) {
    spatial.push_back(centres.x[i]);
    spatial.push_back(centres.y[i] / tiles.pixel_aspect);  // the file's own pixels, as the spots' are
  }
  table.strings = expression.provenance;
  table.strings["source"] = expression.source;
  table.strings["slide_sha256"] = tiles.slide_sha256;
  if (tiles.lattice) table.strings["grid"] = tiles.grid();
  table.strings["unit"] = "log1p of counts per 10,000";
  return table;
}

}  // namespace

std::size_t write_expression(const std::filesystem::path& path, const TileExpression& expression,
                             const io::TileSet& tiles, pipeline::RunContext& ctx) {
  const TileChunks blocks{tiles.cells.size(), expression.block_rows};
  io::H5adWriter writer(path, tiles.cells.size(), expression.genes.size());
  std::vector<std::uint8_t> valid;
  for (std::uint64_t id = 0; id < blocks.count(); ++id) {
    ctx.throw_if_stopped();
    const FeatureRows rows = expression.read(id, blocks.size(id));
    writer.append(rows.values);
    valid.insert(valid.end(), rows.valid.begin(), rows.valid.end());
  }
  writer.finish(expression_frame(expression, valid, tiles));
  return static_cast<std::size_t>(std::ranges::count(valid, std::uint8_t{1}));
}

}  // namespace vtissue::stages
