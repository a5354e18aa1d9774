#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/units.h"
#include "models/engines.h"
#include "pipeline/stage.h"

namespace vtissue::stages {

struct PreviewOptions {
  Box<Level0Px> region;                                      ///< what is shown
  std::array<std::uint8_t, 3> background = {244, 243, 245};  ///< where there is no tissue
  std::string numerics_class;                                ///< Device::numerics_class()
};

/// The region grown by so many tiles to every side, as level-0 pixels: what has to be computed so that tiles at the
/// region's border see their neighbours. `tile_um`: side of a tile; `slide_mpp`: µm per level-0 pixel.
Box<Level0Px> grown_region(const Box<Level0Px>& region, double tiles, double tile_um, double slide_mpp);

/// slide, tiles, latents → preview.png: a region of the virtual slide beside the real one, decoded straight from the
/// latents, without the pyramid. The virtual half carries the notice.
class PreviewStage : public pipeline::Stage {
 public:
  PreviewStage(PreviewOptions options, std::shared_ptr<const models::Autoencoder> autoencoder);

  std::string_view name() const override { return "preview"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  PreviewOptions options_;
  std::shared_ptr<const models::Autoencoder> autoencoder_;
};

}  // namespace vtissue::stages
