#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.h"
#include "pipeline/stage.h"
#include "stages/tile/slide_tissue.h"

namespace vtissue::stages {

struct TileOptions {
  int size_px = 128;                    ///< side of a tile at `mpp`; even, since cells count half tiles
  double mpp = 0.7;                     ///< µm/px of the tiles and of the virtual slide
  double min_tissue = 0.25;             ///< tiles with a smaller share of tissue are left out, 0..1
  std::optional<double> slide_mpp;      ///< µm/px of the slide's level 0, instead of what the file says (--mpp)
  std::optional<Box<Level0Px>> region;  ///< only tiles with their centre inside (--region)
  TissueOptions tissue;
  int overlap_px = 0;          ///< that neighbouring tiles share at `mpp`; even, below size_px
  bool half_shift = false;     ///< the grid begins half a stride before the slide's corner
  bool to_srgb = false;        ///< convert the slide's pixels by its ICC profile, here and in the stages that follow
  double min_inside = 0;       ///< tiles with a smaller share on the slide are left out, 0..1
  bool for_synthesis = false;  ///< refuse given coordinates that do not lie side by side; no part of the identity
};

/// slide → tiles.h5: the tissue mask and the tiles of a grid at the target µm/px. Optional inputs: annotations and
/// tissue_mask, and coordinates (a file of CLAM or TRIDENT): then the tiles are those that it states, all of them, and
/// the µm/px is that at which a tile's side is its patch's.
///
/// Memory is bounded by the thumbnail at tissue.mpp (no side over 2560 pixels: some 0.6 GB at the most), not by the
/// slide.
class TileStage : public pipeline::Stage {
 public:
  explicit TileStage(TileOptions options);

  std::string_view name() const override { return "tile"; }
  int format_version() const override { return 3; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  /// Opens the slide; refuses a missing µm/px, a target finer than the slide, a slide smaller than a
  /// tile and a region outside the slide.
  void preflight(const pipeline::Bindings& available_inputs) const override;
  pipeline::Estimate estimate(const pipeline::Bindings& available_inputs) const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  TileOptions options_;
};

}  // namespace vtissue::stages
