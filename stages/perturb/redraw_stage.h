#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "pipeline/stage.h"
#include "stages/perturb/region.h"
#include "stages/synthesize/synthesize_stage.h"

namespace vtissue::stages {

/// tiles, features, genes, changed (ChangeStage), trajectory (optional), region (optional, GeoJSON) → latents: the
/// region and the ring around it from the same noise with the changed expression. Around them each step takes the run's
/// own states (TrajectoryStage), so that the change stays inside; those tiles, the rim, are in the store too, as the
/// run has them. Without a region, all of the slide. The index names the change as "perturbation" in made_by.
class RedrawStage : public pipeline::Stage {
 public:
  /// `synthesis`: as the run's. `noise_key`: 0 the run's noise; else another, a function of the run's seed and the key;
  /// the windows lie where the run has them.
  RedrawStage(RegionOptions region, std::shared_ptr<const SynthesizeStage> synthesis, std::uint64_t noise_key = 0);

  std::string_view name() const override { return "redraw"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void preflight(const pipeline::Bindings& available_inputs) const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  RegionOptions region_;
  std::shared_ptr<const SynthesizeStage> synthesis_;
  std::uint64_t noise_key_;
};

/// latents of a run, changed (RedrawStage) → latents: the run's with the changed tiles in their places. The others keep
/// their bits.
class PatchStage : public pipeline::Stage {
 public:
  std::string_view name() const override { return "patch"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override { return {{.name = "latents"}, {.name = "changed"}}; }
  std::vector<pipeline::Port> outputs() const override { return {{.name = "patched", .is_folder = true}}; }
  nlohmann::json identity() const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;
};

}  // namespace vtissue::stages
