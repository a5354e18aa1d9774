#include "stages/synthesize/exact_conditions.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/tile_store.h"

namespace vtissue::stages {
namespace {

/// TileSet::grid() of what tiles_on_lattice() makes.
std::string lattice_grid(Point<Latent> lattice, int size, int latent_px) {
  const int side = size * latent_px;
  const auto shifted = [&](std::int64_t at) { return at == 0 ? 0 : (at - size) * latent_px; };
  io::TileSet tiles;
  tiles.tile_px = side;
  tiles.lattice = {.stride_px = side, .cell_px = side / 2, .offset = {shifted(lattice.x), shifted(lattice.y)}};
  return tiles.grid();
}

}  // namespace

std::vector<Point<Latent>> window_lattices(const WindowLayout& layout,
                                           std::span<const models::Evaluation> evaluations) {
  const std::int64_t size = layout.size();
  std::set<std::pair<std::int64_t, std::int64_t>> found;  // (y, x)
  for (const models::Evaluation& evaluation : evaluations) {
    const Point<Latent> at = layout.offset(evaluation.step);
    found.emplace(at.y, at.x);
    if (!layout.blended(evaluation.step)) continue;
    const std::int64_t x = (at.x + size / 2) % size, y = (at.y + size / 2) % size;
    found.insert({{at.y, x}, {y, at.x}, {y, x}});
  }
  found.erase({0, 0});
  std::vector<Point<Latent>> lattices;
  for (const auto& [y, x] : found) lattices.push_back({x, y});
  return lattices;
}

std::string lattice_name(Point<Latent> lattice) { return fmt::format("{:02}-{:02}", lattice.x, lattice.y); }

std::pair<std::string, std::string> lattice_ports(Point<Latent> lattice) {
  const std::string place = fmt::format("{:02}_{:02}", lattice.x, lattice.y);
  return {"features_" + place, "genes_" + place};
}

ExactConditions::ExactConditions(const pipeline::Bindings& inputs, std::span<const Point<Latent>> lattices,
                                 bool with_genes, const std::string& slide_sha256, int latent_px,
                                 std::shared_ptr<const models::Denoiser> denoiser)
    : size_(denoiser->latent_size()) {
  for (const Point<Latent> lattice : lattices) {
    const auto [features_port, genes_port] = lattice_ports(lattice);
    const auto features = inputs.find(features_port), genes = inputs.find(genes_port);
    if (features == inputs.end() || (with_genes && genes == inputs.end())) {
      throw Error(ErrorCode::kUsage,
                  "synthesize.conditions is exact, but {} of the windows' lattice {} are not given; compute them with "
                  "lattice, embed, express and encode, as run does, or set it to interpolated",
                  features == inputs.end() ? "features" : "genes", lattice_name(lattice));
    }
    const std::string grid = lattice_grid(lattice, size_, latent_px);
    auto source = std::make_unique<ConditionSource>(
        features->second, with_genes ? std::optional(genes->second) : std::nullopt, denoiser, grid);
    if (source->slide_sha256() != slide_sha256) {
      throw Error(ErrorCode::kBadInput,
                  "{}: comes from another slide than the tiles' features; make both from one slide",
                  features->second.string());
    }
    sources_[{lattice.x, lattice.y}] = std::move(source);
  }
}

ConditionRows ExactConditions::read(const ConditionSource& tiles, std::span<const Point<Latent>> windows) const {
  ConditionRows all;
  const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  for (const Point<Latent> window : windows) {
    const std::int64_t column = floor_div(window.x, size_), row = floor_div(window.y, size_);
    const Point<Latent> lattice{window.x - column * size_, window.y - row * size_};
    const bool own = lattice.x == 0 && lattice.y == 0;
    const auto found = sources_.find({lattice.x, lattice.y});
    const ConditionSource* source = own ? &tiles : found == sources_.end() ? nullptr : found->second.get();
    // Cells of a shifted lattice begin one tile before the slide.
    const TileCell cell{static_cast<std::int32_t>(2 * (column + (lattice.x != 0 ? 1 : 0))),
                        static_cast<std::int32_t>(2 * (row + (lattice.y != 0 ? 1 : 0)))};
    std::optional<std::size_t> index;
    if (source != nullptr) {
      const auto at = std::ranges::lower_bound(source->cells(), cell);
      if (at != source->cells().end() && *at == cell) index = static_cast<std::size_t>(at - source->cells().begin());
    }
    if (!index) {
      throw Error(
          ErrorCode::kBadInput,
          "the window at latent ({}, {}) has no conditions of its own; make the stores of lattice {} from these "
          "tiles again",
          window.x, window.y, lattice_name(lattice));
    }
    const ConditionRows rows = source->read(*index, 1);
    append(all.morphology, rows.morphology);
    append(all.has_morphology, rows.has_morphology);
    append(all.gene, rows.gene);
    append(all.has_gene, rows.has_gene);
  }
  return all;
}

}  // namespace vtissue::stages
