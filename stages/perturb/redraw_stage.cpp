#include "stages/perturb/redraw_stage.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "io/latent_store.h"
#include "pipeline/run_context.h"
#include "stages/perturb/changed_conditions.h"
#include "stages/perturb/latent_subset.h"
#include "stages/perturb/trajectory_store.h"
#include "stages/synthesize/canvas_synthesis.h"

namespace vtissue::stages {
namespace {

/// Throws Error kBadInput unless the trajectory is that of the rim.
TrajectoryShape trajectory_of_rim(const std::filesystem::path& folder, const io::TileSet& tiles,
                                  const RegionExtent& extent, int states) {
  TrajectoryShape shape = read_trajectory_shape(folder);
  std::vector<TileCell> rim;
  for (const std::size_t tile : extent.rim) rim.push_back(tiles.cells[tile]);
  if (shape.cells != rim || shape.states != states) {
    throw Error(ErrorCode::kBadInput,
                "{}: is the trajectory of another region or of another number of steps; make it again",
                folder.string());
  }
  return shape;
}

std::unique_ptr<const ConditionSource> conditions_of(const pipeline::Bindings& inputs,
                                                     const std::shared_ptr<const models::Denoiser>& denoiser) {
  if (const auto changed = optional_input(inputs, "changed")) {
    return std::make_unique<ChangedConditions>(inputs.at("features"), inputs.at("genes"), *changed, denoiser);
  }
  return std::make_unique<ConditionSource>(inputs.at("features"), inputs.at("genes"), denoiser);
}

/// Another seed for each key; far from the seeds that people count up.
std::uint64_t seed_of_key(std::uint64_t seed, std::uint64_t key) { return seed ^ (key * 0x9e3779b97f4a7c15ULL); }

}  // namespace

RedrawStage::RedrawStage(RegionOptions region, std::shared_ptr<const SynthesizeStage> synthesis,
                         std::uint64_t noise_key)
    : region_(std::move(region)), synthesis_(std::move(synthesis)), noise_key_(noise_key) {}

std::vector<pipeline::Port> RedrawStage::inputs() const {
  return {{.name = "tiles"},
          {.name = "features"},
          {.name = "genes"},
          {.name = "changed", .optional = true},
          {.name = "trajectory", .optional = true},
          {.name = "region", .optional = true}};
}

std::vector<pipeline::Port> RedrawStage::outputs() const { return {{.name = "latents", .is_folder = true}}; }

nlohmann::json RedrawStage::identity() const {
  return {{"region", region_.to_json()}, {"synthesis", synthesis_->identity()}, {"noise_key", noise_key_}};
}

void RedrawStage::preflight(const pipeline::Bindings& available_inputs) const {
  synthesis_->preflight(available_inputs);
  if (!available_inputs.contains("tiles")) return;
  region_extent(io::read_tiles(available_inputs.at("tiles")), region_, optional_input(available_inputs, "region"));
}

void RedrawStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                      pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const std::unique_ptr<const ConditionSource> source = conditions_of(inputs, synthesis_->denoiser());
  const ConditionSource& conditions = *source;
  const auto* const changed = dynamic_cast<const ChangedConditions*>(source.get());
  if (conditions.cells() != tiles.cells) {
    throw Error(ErrorCode::kBadInput, "{} and {} have other tiles; both must come from one run",
                inputs.at("features").string(), inputs.at("tiles").string());
  }
  const RegionExtent extent = region_extent(tiles, region_, optional_input(inputs, "region"));
  for (const std::size_t tile : changed == nullptr ? std::vector<std::size_t>() : changed->changed_tiles()) {
    if (std::ranges::binary_search(extent.region, tile)) continue;
    throw Error(ErrorCode::kBadInput,
                "{}: tile ({}, {}) lies outside the region; change and redraw must be given the same one",
                inputs.at("changed").string(), tiles.cells[tile].column, tiles.cells[tile].row);
  }
  const models::Denoiser& denoiser = *synthesis_->denoiser();
  const int size = denoiser.latent_size(), channels = denoiser.latent_channels();
  CanvasOptions options = synthesis_->canvas_options();
  if (noise_key_ != 0) options.seed = seed_of_key(options.seed, noise_key_);
  const WindowLayout layout(tiles.cells, size, options.windows);
  const std::size_t per_tile = static_cast<std::size_t>(channels) * static_cast<std::size_t>(size * size);
  const auto trajectory = optional_input(inputs, "trajectory");
  if (!trajectory && !extent.rim.empty()) {
    throw Error(ErrorCode::kUsage,
                "a part of the slide is to be drawn anew, but the run's trajectory around it is not given");
  }
  TrajectoryShape shape;
  if (!extent.whole_slide(tiles)) {
    options.scope = confined_scope(layout, synthesis_->sampler().evaluations(), tiles.cells, extent.drawn);
    options.after_state = [&](int generation, TissueCanvas& canvas) {
      const std::vector<float> state = read_trajectory_state(*trajectory, shape, generation);
      for (std::size_t i = 0; i < shape.cells.size(); ++i) {
        canvas.write(generation % 2, 0, latent_origin(shape.cells[i], size),
                     std::span(state).subspan(i * per_tile, per_tile));
      }
    };
  }
  CanvasSynthesis synthesis(denoiser, synthesis_->sampler(), conditions, std::move(options));
  if (trajectory) shape = trajectory_of_rim(*trajectory, tiles, extent, synthesis.generations());
  ctx.set_total(synthesis.window_evaluations(), "windows");
  synthesis.run(ctx);

  nlohmann::json made_by = synthesis_->made_by(conditions);
  if (changed != nullptr) {
    made_by["perturbation"] = nlohmann::json::parse(changed->change_settings()).at("perturbation");
    made_by["perturbation"]["tiles_drawn"] = extent.drawn.size();
    made_by["perturbation"]["whole_slide"] = extent.whole_slide(tiles);
  }
  write_latent_subset(
      outputs.at("latents"),
      {.channels = channels,
       .size = size,
       .tile_px = tiles.tile_px,
       .seed = synthesis_->options().seed,
       .slide_sha256 = conditions.slide_sha256(),
       .made_by = std::move(made_by)},
      tiles.cells, extent.seen(), [&](std::size_t tile, std::span<float> out) { synthesis.read(tile, out); }, ctx);
  ctx.report("tiles_drawn", extent.drawn.size());
  ctx.report("window_evaluations", synthesis.window_evaluations());
}

nlohmann::json PatchStage::identity() const { return nlohmann::json::object(); }

void PatchStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                     pipeline::RunContext& ctx) const {
  const io::LatentReader base(inputs.at("latents")), changed(inputs.at("changed"));
  io::LatentStoreInfo info = changed.info();
  info.made_by = base.info().made_by;
  if (info != base.info()) {
    throw Error(ErrorCode::kBadInput, "{} and {} are not of one slide, seed and autoencoder",
                inputs.at("latents").string(), inputs.at("changed").string());
  }
  info.made_by["perturbation"] = changed.info().made_by.at("perturbation");
  const std::vector<TileCell>& cells = base.cells();
  std::vector<std::size_t> all(cells.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  write_latent_subset(
      outputs.at("patched"), info, cells, all,
      [&](std::size_t tile, std::span<float> out) {
        const auto found = std::ranges::lower_bound(changed.cells(), cells[tile]);
        if (found != changed.cells().end() && *found == cells[tile]) {
          changed.read(static_cast<std::size_t>(found - changed.cells().begin()), out);
        } else {
          base.read(tile, out);
        }
      },
      ctx);
  ctx.report("tiles", cells.size());
  ctx.report("tiles_replaced", changed.cells().size());
}

}  // namespace vtissue::stages
