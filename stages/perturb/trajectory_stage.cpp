#include "stages/perturb/trajectory_stage.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "io/half.h"
#include "io/latent_store.h"
#include "pipeline/run_context.h"
#include "stages/perturb/latent_subset.h"
#include "stages/perturb/trajectory_store.h"
#include "stages/synthesize/canvas_synthesis.h"
#include "stages/synthesize/tile_conditions.h"

namespace vtissue::stages {
namespace {

/// What is committed beside the synthesis: the rim's state after a step.
std::vector<float> committed_state(const pipeline::ChunkStore& chunks, std::uint64_t id, std::size_t values) {
  const std::optional<std::vector<std::byte>> bytes = chunks.read(id);
  if (!bytes || bytes->size() != values * sizeof(float)) {
    throw Error(ErrorCode::kOutput,
                "{}: the committed part {} is gone or damaged; remove the folder and run the command again",
                chunks.folder().string(), id);
  }
  std::vector<float> state(values);
  std::memcpy(state.data(), bytes->data(), bytes->size());
  return state;
}

/// Throws Error kBadInput unless the tiles of `own` came about as `stored` has them, bit for bit.
void require_same_latents(const std::filesystem::path& folder, const io::LatentReader& stored,
                          const CanvasSynthesis& own, std::span<const TileCell> cells,
                          std::span<const std::size_t> tiles) {
  if (!std::ranges::equal(stored.cells(), cells)) {
    throw Error(ErrorCode::kBadInput, "{}: has other tiles than the run's features", folder.string());
  }
  std::vector<float> before(static_cast<std::size_t>(stored.info().channels) *
                            static_cast<std::size_t>(stored.info().size) *
                            static_cast<std::size_t>(stored.info().size));
  std::vector<float> now(before.size());
  for (const std::size_t tile : tiles) {
    stored.read(tile, before);
    own.read(tile, now);
    for (std::size_t k = 0; k < now.size(); ++k) {
      if (io::float_to_half(now[k]) == io::float_to_half(before[k])) continue;
      throw Error(
          ErrorCode::kBadInput,
          "{}: tile ({}, {}) does not come about again (latent {}: {} in the run, {} now), so that what is around a "
          "change could not stay as it is; were the run's files, configuration or weights changed, or was it made "
          "on another machine, device or with another --dtype? Make the run again here",
          folder.string(), cells[tile].column, cells[tile].row, k, before[k], now[k]);
    }
  }
}

}  // namespace

TrajectoryStage::TrajectoryStage(RegionOptions region, std::shared_ptr<const SynthesizeStage> synthesis)
    : region_(std::move(region)), synthesis_(std::move(synthesis)) {}

std::vector<pipeline::Port> TrajectoryStage::inputs() const {
  return {{.name = "tiles"},
          {.name = "features"},
          {.name = "genes", .optional = true},
          {.name = "latents", .optional = true},
          {.name = "region", .optional = true}};
}

std::vector<pipeline::Port> TrajectoryStage::outputs() const {
  return {{.name = "trajectory", .is_folder = true}, {.name = "base", .is_folder = true}};
}

nlohmann::json TrajectoryStage::identity() const {
  return {{"region", region_.to_json()}, {"synthesis", synthesis_->identity()}};
}

void TrajectoryStage::preflight(const pipeline::Bindings& available_inputs) const {
  synthesis_->preflight(available_inputs);
  if (!available_inputs.contains("tiles")) return;
  region_extent(io::read_tiles(available_inputs.at("tiles")), region_, optional_input(available_inputs, "region"));
}

pipeline::Estimate TrajectoryStage::estimate(const pipeline::Bindings& available_inputs) const {
  if (!available_inputs.contains("tiles")) return {};
  const io::TileSet tiles = io::read_tiles(available_inputs.at("tiles"));
  const RegionExtent extent = region_extent(tiles, region_, optional_input(available_inputs, "region"));
  const CanvasOptions options = synthesis_->canvas_options();
  const WindowLayout layout(tiles.cells, synthesis_->denoiser()->latent_size(), options.windows);
  const CanvasScope scope = dependence_scope(layout, synthesis_->sampler().evaluations(), tiles.cells, extent.seen());
  return {.note = fmt::format("{} tiles of the region, {} drawn anew; the run's steps of {} of {} tiles again",
                              extent.region.size(), extent.drawn.size(), scope.tiles, tiles.cells.size())};
}

void TrajectoryStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                          pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const ConditionSource conditions(inputs.at("features"), optional_input(inputs, "genes"), synthesis_->denoiser());
  if (conditions.cells() != tiles.cells) {
    throw Error(ErrorCode::kBadInput, "{} and {} have other tiles; both must come from one run",
                inputs.at("features").string(), inputs.at("tiles").string());
  }
  const RegionExtent extent = region_extent(tiles, region_, optional_input(inputs, "region"));
  const std::vector<std::size_t> seen = extent.seen();
  const models::Denoiser& denoiser = *synthesis_->denoiser();
  const int size = denoiser.latent_size(), channels = denoiser.latent_channels();
  CanvasOptions options = synthesis_->canvas_options();
  const WindowLayout layout(tiles.cells, size, options.windows);
  options.scope = dependence_scope(layout, synthesis_->sampler().evaluations(), tiles.cells, seen);

  TrajectoryShape shape{.cells = {}, .states = 0, .channels = channels, .size = size};
  for (const std::size_t tile : extent.rim) shape.cells.push_back(tiles.cells[tile]);
  const std::size_t per_tile = static_cast<std::size_t>(channels) * static_cast<std::size_t>(size * size);
  std::uint64_t first_state = 0;  // id of the first committed state, less one
  options.after_state = [&](int generation, TissueCanvas& canvas) {
    std::vector<float> state(shape.values());
    for (std::size_t i = 0; i < shape.cells.size(); ++i) {
      canvas.read(generation % 2, 0, latent_origin(shape.cells[i], size),
                  std::span(state).subspan(i * per_tile, per_tile));
    }
    ctx.chunks().commit(first_state + static_cast<std::uint64_t>(generation), std::as_bytes(std::span(state)));
  };
  const std::size_t touched = options.scope->tiles;
  CanvasSynthesis synthesis(denoiser, synthesis_->sampler(), conditions, std::move(options));
  first_state = synthesis.part_ids();
  shape.states = synthesis.generations();
  ctx.set_total(synthesis.window_evaluations(), "windows");
  synthesis.run(ctx);

  if (const auto stored = optional_input(inputs, "latents")) {
    require_same_latents(*stored, io::LatentReader(*stored), synthesis, tiles.cells, seen);
  }
  for (int k = 1; shape.values() > 0 && k <= shape.states; ++k) {
    write_trajectory_state(outputs.at("trajectory"), shape, k,
                           committed_state(ctx.chunks(), first_state + static_cast<std::uint64_t>(k), shape.values()));
  }
  finish_trajectory(outputs.at("trajectory"), shape);
  write_latent_subset(
      outputs.at("base"),
      {.channels = channels,
       .size = size,
       .tile_px = tiles.tile_px,
       .seed = synthesis_->options().seed,
       .slide_sha256 = conditions.slide_sha256(),
       .made_by = synthesis_->made_by(conditions)},
      tiles.cells, seen, [&](std::size_t tile, std::span<float> out) { synthesis.read(tile, out); }, ctx);
  ctx.report("tiles_in_region", extent.region.size());
  ctx.report("tiles_around", extent.rim.size());
  ctx.report("tiles_computed_again", touched);
  ctx.report("window_evaluations", synthesis.window_evaluations());
}

}  // namespace vtissue::stages
