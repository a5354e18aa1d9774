#pragma once

#include <string_view>

#include "core/units.h"
#include "io/tile_store.h"
#include "pipeline/stage.h"

namespace vtissue::stages {

/// The squares of a tile's size that lie side by side with a corner at `offset_px` (0 <= x, y < tile_px, target pixels)
/// and meet one of the tiles, as a tile set of its own: TileLattice::offset is offset_px - tile_px where that is not 0,
/// so that no cell is negative. tissue_fraction: of the square's area, from the tiles it meets. Pure.
io::TileSet tiles_on_lattice(const io::TileSet& tiles, Point<TargetPx> offset_px);

/// tiles → tiles: tiles_on_lattice(), on which embed, express and encode work as on the tiles: the conditions of the
/// denoiser's windows at that place (synthesize.conditions: exact).
class LatticeStage : public pipeline::Stage {
 public:
  explicit LatticeStage(Point<TargetPx> offset_px) : offset_px_(offset_px) {}

  std::string_view name() const override { return "lattice"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override { return {{.name = "tiles"}}; }
  std::vector<pipeline::Port> outputs() const override { return {{.name = "lattice"}}; }
  nlohmann::json identity() const override;
  /// Throws Error kUsage for an offset outside the tile.
  void preflight(const pipeline::Bindings& available_inputs) const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  Point<TargetPx> offset_px_;
};

}  // namespace vtissue::stages
