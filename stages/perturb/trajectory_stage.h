#pragma once

#include <memory>
#include <string_view>

#include "pipeline/stage.h"
#include "stages/perturb/region.h"
#include "stages/synthesize/synthesize_stage.h"

namespace vtissue::stages {

/// tiles, features, genes, latents (optional), region (optional, GeoJSON) → trajectory: the states of a run's own
/// synthesis, step by step, of the tiles around a region that is to be drawn anew; base: the latents of those and of
/// the region's, as the run has them. Computed anew, with all that they depend on and nothing else; the result must be
/// that of `latents`, bit for bit.
class TrajectoryStage : public pipeline::Stage {
 public:
  /// `synthesis`: as the run's.
  TrajectoryStage(RegionOptions region, std::shared_ptr<const SynthesizeStage> synthesis);

  std::string_view name() const override { return "trajectory"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void preflight(const pipeline::Bindings& available_inputs) const override;
  pipeline::Estimate estimate(const pipeline::Bindings& available_inputs) const override;
  /// Throws Error kBadInput if the run's latents do not come about again.
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  RegionOptions region_;
  std::shared_ptr<const SynthesizeStage> synthesis_;
};

}  // namespace vtissue::stages
