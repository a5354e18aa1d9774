#include "stages/audit/choose_stage.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/feature_store.h"
#include "pipeline/run_context.h"
#include "stages/evaluate/tile_comparison.h"
#include "stages/perturb/latent_subset.h"
#include "stages/perturb/region.h"
#include "stages/perturb/tile_painter.h"

namespace vtissue::stages {
namespace {

/// Mean cosine of the tiles' embeddings, as a store paints them, with what was asked for.
double agreement(const TilePainter& painter, const models::MorphologyEncoder& encoder,
                 const io::FeatureReader& features, const io::TileSet& tiles, const std::vector<std::size_t>& wanted) {
  const auto dim = static_cast<std::size_t>(encoder.dim());
  double sum = 0;
  for (const std::vector<std::size_t>& group : nearby_groups(tiles, wanted)) {
    std::vector<TileCell> cells;
    cells.reserve(group.size());
    for (const std::size_t tile : group) cells.push_back(tiles.cells[tile]);
    std::vector<float> seen(cells.size() * dim), asked;
    encoder.encode(painter.paint_tiles(cells), static_cast<int>(cells.size()), tiles.tile_px, seen);
    std::vector<std::uint8_t> valid;
    for (std::size_t i = 0; i < group.size(); ++i) {
      features.read("morphology", group[i], 1, asked, valid);
      sum += cosine(asked, std::span(seen).subspan(i * dim, dim));
    }
  }
  return sum / static_cast<double>(wanted.size());
}

}  // namespace

std::vector<std::vector<std::size_t>> touching_groups(std::span<const TileCell> cells,
                                                      std::span<const std::size_t> tiles) {
  std::map<TileCell, std::size_t> left;
  for (const std::size_t tile : tiles) left.emplace(cells[tile], tile);
  std::vector<std::vector<std::size_t>> groups;
  for (const std::size_t first : tiles) {
    if (!left.contains(cells[first])) continue;
    std::vector<std::size_t> group, open = {first};
    left.erase(cells[first]);
    while (!open.empty()) {
      const std::size_t tile = open.back();
      open.pop_back();
      group.push_back(tile);
      for (int dy = -2; dy <= 2; dy += 2) {
        for (int dx = -2; dx <= 2; dx += 2) {
          const auto found = left.find({cells[tile].column + dx, cells[tile].row + dy});
          if (found == left.end()) continue;
          open.push_back(found->second);
          left.erase(found);
        }
      }
    }
    std::ranges::sort(group);
    groups.push_back(std::move(group));
  }
  return groups;
}

ChooseStage::ChooseStage(ChooseOptions options, std::shared_ptr<const models::Autoencoder> autoencoder,
                         std::shared_ptr<const models::MorphologyEncoder> encoder)
    : options_(std::move(options)), autoencoder_(std::move(autoencoder)), encoder_(std::move(encoder)) {}

std::string ChooseStage::candidate_port(std::size_t candidate) { return fmt::format("candidate_{:02}", candidate); }

std::vector<pipeline::Port> ChooseStage::inputs() const {
  std::vector<pipeline::Port> ports = {
      {.name = "tiles"}, {.name = "features"}, {.name = "failing"}, {.name = "latents"}};
  for (std::size_t k = 0; k < options_.noise_keys.size(); ++k) ports.push_back({.name = candidate_port(k)});
  return ports;
}

std::vector<pipeline::Port> ChooseStage::outputs() const {
  return {{.name = "chosen", .is_folder = true}, {.name = "report"}};
}

nlohmann::json ChooseStage::identity() const {
  const models::DecodeWindow window = autoencoder_->decode_window();
  return {{"noise_keys", options_.noise_keys},
          {"glass", options_.glass},
          {"autoencoder", {{"sha256", autoencoder_->info().sha256}, {"micro_batch", autoencoder_->info().micro_batch}}},
          {"decode_window", {window.inner, window.halo, window.ramp}},
          {"encoder", {{"sha256", encoder_->info().sha256}, {"micro_batch", encoder_->info().micro_batch}}},
          {"numerics_class", options_.numerics_class}};
}

void ChooseStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                      pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const io::FeatureReader features(inputs.at("features"));
  const io::LatentReader base(inputs.at("latents"));
  const RegionExtent extent = region_extent(tiles, {.may_be_empty = true}, inputs.at("failing"));
  std::vector<std::unique_ptr<TilePainter>> painters;  // of the run first
  painters.push_back(std::make_unique<TilePainter>(tiles, inputs.at("latents"), *autoencoder_, options_.glass));
  for (std::size_t k = 0; k < options_.noise_keys.size(); ++k) {
    painters.push_back(
        std::make_unique<TilePainter>(tiles, inputs.at(candidate_port(k)), *autoencoder_, options_.glass));
  }
  const std::vector<std::vector<std::size_t>> pieces = touching_groups(tiles.cells, extent.drawn);
  ctx.set_total(static_cast<std::int64_t>(pieces.size()), "pieces");
  std::map<std::size_t, std::size_t> taken;  // tile → painter
  nlohmann::json choices = nlohmann::json::array();
  std::size_t better = 0;
  for (const std::vector<std::size_t>& piece : pieces) {
    ctx.throw_if_stopped();
    std::vector<std::size_t> failed;
    std::ranges::set_intersection(piece, extent.region, std::back_inserter(failed));
    std::vector<double> cosines;
    cosines.reserve(painters.size());
    for (const auto& painter : painters) cosines.push_back(agreement(*painter, *encoder_, features, tiles, failed));
    const auto best = static_cast<std::size_t>(std::ranges::max_element(cosines) - cosines.begin());
    for (const std::size_t tile : piece) taken[tile] = best;
    nlohmann::json cells = nlohmann::json::array();
    for (const std::size_t tile : failed) cells.push_back({tiles.cells[tile].column, tiles.cells[tile].row});
    choices.push_back(
        {{"tiles", cells}, {"noise_key", best == 0 ? 0 : options_.noise_keys[best - 1]}, {"cosines", cosines}});
    if (best != 0) ++better;
    ctx.advance();
  }
  const nlohmann::json report = {{"failing_tiles", extent.region.size()},
                                 {"pieces", pieces.size()},
                                 {"pieces_drawn_again", better},
                                 {"noise_keys", options_.noise_keys},
                                 {"choices", choices}};
  io::LatentStoreInfo info = base.info();
  info.made_by["drawn_again"] = report;
  std::vector<std::size_t> all(tiles.cells.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  write_latent_subset(
      outputs.at("chosen"), info, tiles.cells, all,
      [&](std::size_t tile, std::span<float> out) {
        const auto found = taken.find(tile);
        const io::LatentReader& from = found == taken.end() ? base : painters[found->second]->latents();
        const auto place = std::ranges::lower_bound(from.cells(), tiles.cells[tile]);
        from.read(static_cast<std::size_t>(place - from.cells().begin()), out);
      },
      ctx);
  write_file_atomically(outputs.at("report"), report.dump(2) + "\n");
  ctx.report("failing_tiles", extent.region.size());
  ctx.report("pieces_drawn_again", better);
}

}  // namespace vtissue::stages
