#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "models/engines.h"
#include "models/samplers/sampler.h"
#include "pipeline/run_context.h"
#include "stages/synthesize/canvas_scope.h"
#include "stages/synthesize/exact_conditions.h"
#include "stages/synthesize/tile_conditions.h"
#include "stages/synthesize/tissue_canvas.h"
#include "stages/synthesize/window_layout.h"

namespace vtissue::stages {

struct CanvasOptions {
  WindowOptions windows;
  std::uint64_t seed = 0;  ///< of the noise
  models::Guidance guidance;
  /// [channels]: latents of empty glass. What a window sees beside the tissue is this with the noise of its step, as if
  /// it had been drawn already.
  std::vector<float> glass;
  std::shared_ptr<const ExactConditions> exact;  ///< null: conditions between the tiles are interpolated
  std::size_t chunk = 16;                        ///< windows committed at once: whole micro-batches
  std::uint64_t first_part = 0;                  ///< id of the first part that is committed
  std::size_t memory_bytes = 1 << 30;            ///< a larger canvas is mapped from a file in the work folder
  std::optional<CanvasScope> scope;              ///< a part of the slide; else all of it
  /// Called when the state of generation 1, 2, … (one a step, two for samplers that evaluate twice) is whole: it lies
  /// in slot generation % 2, plane 0, and may be changed there. Called again for the last one when a run is gone on
  /// with.
  std::function<void(int generation, TissueCanvas& canvas)> after_state;
};

/// The denoiser's steps over all latents of a slide's tiles, window by window (DESIGN 6). A step reads one slot of the
/// canvas and writes the other; the windows of a step are committed in chunks, and the parts of the last two steps are
/// kept: an interrupted run goes on after the last part that is whole. The bytes depend neither on threads nor on
/// interruptions.
class CanvasSynthesis {
 public:
  /// All references must outlive it. Throws Error kUsage as WindowLayout.
  CanvasSynthesis(const models::Denoiser& denoiser, const models::Sampler& sampler, const ConditionSource& conditions,
                  CanvasOptions options);
  ~CanvasSynthesis();

  /// Evaluations of the network in all, in windows.
  std::int64_t window_evaluations() const;
  /// States that are made, the last of which is the result.
  int generations() const { return generations_; }
  /// Ids of the committed parts are below.
  std::uint64_t part_ids() const;

  /// Throws Error kInterrupted, kOutput, kModel for latents that are none.
  void run(pipeline::RunContext& ctx);

  /// After run(): the latents of a tile, [channels, size, size].
  void read(std::size_t tile, std::span<float> out) const;

 private:
  enum class Kind {
    kStep,     ///< windows predicted and updated
    kPredict,  ///< windows that overlap: predictions alone
    kUpdate    ///< tiles updated by the predictions before, blended
  };
  struct Pass {
    Kind kind;
    int evaluation;
    std::size_t items;    ///< windows, or tiles for kUpdate
    std::uint64_t first;  ///< id of its first part
    std::size_t index;    ///< in passes_
  };
  struct Chunk;
  class Blend;

  bool makes_state(const Pass& pass) const { return pass.kind != Kind::kPredict; }
  std::uint64_t parts(const Pass& pass) const { return (pass.items + options_.chunk - 1) / options_.chunk; }
  std::size_t values() const;
  std::vector<Point<Latent>> squares(const Pass& pass) const;
  void run_pass(const Pass& pass, int generation, const Pass* predictions, pipeline::RunContext& ctx);
  Chunk gather(std::span<const Point<Latent>> squares, const Pass& pass, int generation) const;
  void update(Chunk& chunk, const Pass& pass, int generation);
  void load(const Pass& pass, int generation, pipeline::RunContext& ctx);
  void remove_before(const Pass& pass, pipeline::RunContext& ctx);
  void require_latents(const Chunk& chunk) const;

  const models::Denoiser& denoiser_;
  const models::Sampler& sampler_;
  const ConditionSource& conditions_;
  CanvasOptions options_;
  WindowLayout layout_;
  std::vector<Pass> passes_;
  std::unique_ptr<TissueCanvas> canvas_;
  int generations_ = 0;        ///< passes that make a state
  std::uint64_t removed_ = 0;  ///< the parts before are not needed any more
};

}  // namespace vtissue::stages
