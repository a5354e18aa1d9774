#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.h"
#include "models/engines.h"
#include "pipeline/stage.h"

namespace vtissue::stages {

struct ChooseOptions {
  std::vector<std::uint64_t> noise_keys;  ///< of the candidates, in the order of their ports
  std::array<std::uint8_t, 3> glass = {244, 243, 245};
  std::string numerics_class;  ///< Device::numerics_class()
};

/// tiles, features, failing (GeoJSON), latents (the run's), candidate_00 … (stores of the failing tiles and what is
/// around them, drawn with other noise) → chosen: the run's latents, in which each piece of the slide that was drawn
/// again is taken from whichever comes nearest to the morphology asked for in the tiles that failed: the run or a
/// candidate. Pieces do not touch: what was drawn for one does not depend on another. report: what was taken where. The
/// index names it as "drawn_again" in made_by.
class ChooseStage : public pipeline::Stage {
 public:
  ChooseStage(ChooseOptions options, std::shared_ptr<const models::Autoencoder> autoencoder,
              std::shared_ptr<const models::MorphologyEncoder> encoder);

  static std::string candidate_port(std::size_t candidate);  ///< "candidate_00"

  std::string_view name() const override { return "choose"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  ChooseOptions options_;
  std::shared_ptr<const models::Autoencoder> autoencoder_;
  std::shared_ptr<const models::MorphologyEncoder> encoder_;
};

/// Tiles (indices in `cells`, ascending) in groups that touch, also at a corner; groups by their first tile.
std::vector<std::vector<std::size_t>> touching_groups(std::span<const TileCell> cells,
                                                      std::span<const std::size_t> tiles);

}  // namespace vtissue::stages
