#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/engines.h"
#include "models/samplers/sampler.h"
#include "pipeline/stage.h"

namespace vtissue::stages {

class ConditionSource;

enum class SynthesisMode {
  kIndependent,  ///< each tile alone (DESIGN 6)
};

struct SynthesizeOptions {
  std::uint64_t seed = 0;
  int steps = 20;                ///< 1..1000
  std::string sampler = "auto";  ///< a name of models::make_sampler(); auto: flow where the model predicts velocity
  models::Spacing spacing = models::Spacing::kAuto;  ///< of the sampler's steps
  double shift = 1;                                  ///< of the flow samplers' times
  models::Guidance guidance;
  SynthesisMode mode = SynthesisMode::kIndependent;
  int tile_px = 0;             ///< side of a tile in pixels; 0: 8 times the model's latent_size()
  int chunk_tiles = 16;        ///< tiles committed at once; rounded up to whole micro-batches
  std::string numerics_class;  ///< Device::numerics_class()
};

/// features, genes (optional) → latents/ (io/latent_store.h): the denoiser run from noise that depends on
/// (seed, position on the slide) alone. Without genes, or where a tile has no expression, the gene
/// condition is the model's null; likewise for morphology.
class SynthesizeStage : public pipeline::Stage {
 public:
  /// Throws Error kUsage: a sampler for another kind of prediction, sampler options that do not fit it, or tile_px that
  /// is not the model's.
  SynthesizeStage(SynthesizeOptions options, std::shared_ptr<const models::Denoiser> denoiser);

  std::string_view name() const override { return "synthesize"; }
  int format_version() const override { return 3; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;

  /// Also that the stores come from the encoders the model was trained with: Error kModel.
  void preflight(const pipeline::Bindings& available_inputs) const override;
  pipeline::Estimate estimate(const pipeline::Bindings& available_inputs) const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  /// For the latents' index: settings under the configuration's names, models by digest.
  nlohmann::json made_by(const ConditionSource& conditions) const;
  std::size_t values_per_tile() const;
  std::size_t rows_per_chunk() const;

  SynthesizeOptions options_;
  std::shared_ptr<const models::Denoiser> denoiser_;
  models::Sampler sampler_;
};

}  // namespace vtissue::stages
