#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/expression.h"
#include "io/tile_store.h"
#include "pipeline/stage.h"
#include "stages/express/measured_expression.h"

namespace vtissue::stages {

struct SpotGridOptions {
  int size_px = 128;               ///< side of a tile at `mpp`; even
  double mpp = 0.7;                ///< µm/px of the tiles and of the virtual slide
  std::optional<double> spot_mpp;  ///< µm per unit of the spots' coordinates, instead of what the table says (--mpp)
  MeasuredOptions measured;        ///< how the table is read
  std::string encoder, encoder_sha256;  ///< the denoiser's morphology encoder, which has seen nothing here
  int morphology_dim = 0;               ///< of its embeddings
};

/// Tiles of the base grid where there are spots: those whose centre is no farther from a spot than 0.75 of the spots'
/// pitch, so that the grid has no holes between neighbouring spots of a square or hexagonal array. The extent is the
/// image's that the table states, else that of the spots with a pitch around. Throws Error kBadInput: no spots, no
/// scale, no pitch; a slide of over 10^6 tiles' side. Pure.
io::TileSet tiles_from_spots(const io::SpotTable& spots, const SpotGridOptions& options, const std::string& name);

/// A measurement without any picture (visium, h5ad, or st_counts with st_spots) → tiles: a grid from the spots' places;
/// features: set "morphology" without an embedding in any tile, so that the denoiser draws from expression alone.
class SpotGridStage : public pipeline::Stage {
 public:
  /// `panel`: genes that the table is looked through for.
  SpotGridStage(SpotGridOptions options, std::vector<std::string> panel);

  std::string_view name() const override { return "spot_grid"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void preflight(const pipeline::Bindings& available_inputs) const override;
  std::optional<std::vector<std::filesystem::path>> files_read(std::string_view port,
                                                               const std::filesystem::path& folder) const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  SpotGridOptions options_;
  std::vector<std::string> panel_;
};

}  // namespace vtissue::stages
