#include "stages/synthesize/lattice_stage.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "pipeline/run_context.h"

namespace vtissue::stages {

io::TileSet tiles_on_lattice(const io::TileSet& tiles, Point<TargetPx> offset_px) {
  const std::int64_t side = tiles.tile_px;
  if (offset_px.x < 0 || offset_px.y < 0 || offset_px.x >= side || offset_px.y >= side) {
    throw Error(ErrorCode::kUsage, "lattice offset {}, {}: expected 0 to {} target pixels, less than a tile",
                offset_px.x, offset_px.y, side - 1);
  }
  if (tiles.lattice) {
    throw Error(ErrorCode::kUsage, "{}: not the tiles of the base grid, side by side from the slide's corner on",
                tiles.grid());
  }
  io::TileSet result = tiles;
  const auto shifted = [side](std::int64_t at) { return at == 0 ? 0 : at - side; };
  if (offset_px != Point<TargetPx>{}) {
    result.lattice = {.stride_px = tiles.tile_px,
                      .cell_px = tiles.tile_px / 2,
                      .offset = {shifted(offset_px.x), shifted(offset_px.y)}};
  }
  std::map<TileCell, double> tissue;  // share of the square's area
  for (std::size_t i = 0; i < tiles.cells.size(); ++i) {
    const TileCell cell = tiles.cells[i];
    if (cell.column % 2 != 0 || cell.row % 2 != 0) {
      throw Error(ErrorCode::kUsage,
                  "tile ({}, {}) lies between those of the base grid; lattices are of tiles side by side", cell.column,
                  cell.row);
    }
    for (const int down : {0, 2}) {
      for (const int right : {0, 2}) {
        if ((right != 0 && offset_px.x == 0) || (down != 0 && offset_px.y == 0)) continue;
        const auto width = right == 0 ? (offset_px.x == 0 ? side : offset_px.x) : side - offset_px.x;
        const auto height = down == 0 ? (offset_px.y == 0 ? side : offset_px.y) : side - offset_px.y;
        tissue[{cell.column + right, cell.row + down}] +=
            static_cast<double>(width * height) / static_cast<double>(side * side) * double{tiles.tissue_fraction[i]};
      }
    }
  }
  result.cells.clear();
  result.tissue_fraction.clear();
  result.artifacts.clear();
  for (const auto& [cell, fraction] : tissue) {
    result.cells.push_back(cell);
    result.tissue_fraction.push_back(static_cast<float>(std::min(1.0, fraction)));
  }
  return result;
}

nlohmann::json LatticeStage::identity() const { return {{"offset_px", {offset_px_.x, offset_px_.y}}}; }

void LatticeStage::preflight(const pipeline::Bindings& available_inputs) const {
  const auto tiles = available_inputs.find("tiles");
  if (tiles != available_inputs.end()) tiles_on_lattice(io::read_tiles(tiles->second), offset_px_);
}

void LatticeStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                       pipeline::RunContext& ctx) const {
  ctx.set_total(1, "lattice");
  const io::TileSet lattice = tiles_on_lattice(io::read_tiles(inputs.at("tiles")), offset_px_);
  io::write_tiles(outputs.at("lattice"), lattice);
  ctx.report("windows", lattice.cells.size());
  ctx.advance();
}

}  // namespace vtissue::stages
