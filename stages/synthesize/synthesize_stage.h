#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/engines.h"
#include "models/samplers/sampler.h"
#include "pipeline/run_context.h"
#include "pipeline/stage.h"
#include "stages/synthesize/window_layout.h"

namespace vtissue::stages {

class ConditionSource;
class ExactConditions;
struct CanvasOptions;

struct SynthesizeOptions {
  std::uint64_t seed = 0;
  int steps = 20;                ///< 1..1000
  std::string sampler = "auto";  ///< a name of models::make_sampler(); auto: flow where the model predicts velocity
  models::Spacing spacing = models::Spacing::kAuto;  ///< of the sampler's steps
  double shift = 1;                                  ///< of the flow samplers' times
  models::Guidance guidance;
  SynthesisMode mode = SynthesisMode::kShifted;
  /// Conditions of windows between the tiles: from inputs of their own (ports features_XX_YY, genes_XX_YY of each of
  /// lattices()) instead of the means of the tiles under them.
  bool exact_conditions = false;
  int blended_steps = 2;     ///< shifted: so many last steps overlap and are blended
  std::vector<float> glass;  ///< [channels]: latents of empty glass, which windows see beside the tissue; empty: zeros
  /// Latents that fit in so many bytes are kept in memory, others in a file that is mapped. Changes no result.
  std::int64_t canvas_bytes = std::int64_t{1} << 30;
  int tile_px = 0;             ///< side of a tile in pixels; 0: 8 times the model's latent_size()
  int chunk_tiles = 16;        ///< tiles committed at once; rounded up to whole micro-batches
  std::string numerics_class;  ///< Device::numerics_class()
};

/// features, genes (optional) → latents/ (io/latent_store.h): the denoiser run from noise that depends on
/// (seed, position on the slide) alone, in windows over all the tissue at once or in each tile alone. Without genes, or
/// where a tile has no expression, the gene condition is the model's null; likewise for morphology.
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
  /// By ranges of tiles where each tile is alone, otherwise by pieces of tissue (tissue_pieces.h).
  bool divisible(const pipeline::Bindings&) const override { return true; }
  /// With exact conditions: where the windows lie between the tiles, latents within a tile; otherwise none.
  std::vector<Point<Latent>> lattices() const;
  /// Evaluations of the network over tiles, in windows.
  std::int64_t window_evaluations(const std::vector<TileCell>& cells) const;
  /// What is on the disk at once beside the result, for so many tiles.
  std::int64_t parts_bytes(std::int64_t tiles) const;
  /// Of the canvas in memory, for so many tiles; 0 where it is mapped from a file or there is none.
  std::int64_t canvas_bytes(std::int64_t tiles) const;
  pipeline::Estimate estimate_shard(const pipeline::Bindings& available_inputs, pipeline::Shard shard) const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

  // For stages that draw parts of a slide anew in the same way.

  const SynthesizeOptions& options() const { return options_; }
  const std::shared_ptr<const models::Denoiser>& denoiser() const { return denoiser_; }
  const models::Sampler& sampler() const { return sampler_; }
  CanvasOptions canvas_options() const;
  /// For the latents' index: settings under the configuration's names, models by digest.
  nlohmann::json made_by(const ConditionSource& conditions) const;

 private:
  std::size_t values_per_tile() const;
  std::size_t rows_per_chunk() const;
  /// The latents of tile after tile, from `read(tile, out)`, into the store.
  void write(const std::filesystem::path& folder, const ConditionSource& conditions,
             const std::function<void(std::size_t, std::span<float>)>& read, pipeline::RunContext& ctx) const;
  /// Every tile alone through all steps; a chunk's tiles are committed when they are done.
  void run_independent(const ConditionSource& conditions, const std::filesystem::path& folder,
                       pipeline::RunContext& ctx) const;
  /// Null where conditions are interpolated.
  std::shared_ptr<const ExactConditions> exact_conditions(const pipeline::Bindings& inputs,
                                                          const ConditionSource& tiles) const;
  void run_canvas(const pipeline::Bindings& inputs, const ConditionSource& conditions,
                  const std::filesystem::path& folder, pipeline::RunContext& ctx) const;

  SynthesizeOptions options_;
  std::shared_ptr<const models::Denoiser> denoiser_;
  models::Sampler sampler_;
};

}  // namespace vtissue::stages
