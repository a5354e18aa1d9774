#include "stages/perturb/variant_figures.h"

#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include "core/error.h"
#include "stages/evaluate/tile_comparison.h"
#include "stages/perturb/difference_stage.h"
#include "stages/perturb/tile_painter.h"

namespace vtissue::stages {
namespace {

/// A store's tiles of a group: their pixels and embeddings.
struct PaintedTiles {
  std::vector<std::uint8_t> rgb;
  std::vector<float> embeddings;
};

VariantFigure compare_painted(const PaintedTiles& before, const PaintedTiles& after, std::size_t tile,
                              std::size_t per_tile, std::size_t dim) {
  const TileDifference difference = compare_tiles(std::span(before.rgb).subspan(tile * per_tile, per_tile),
                                                  std::span(after.rgb).subspan(tile * per_tile, per_tile));
  VariantFigure figure{.magnitude = static_cast<float>(difference.magnitude)};
  for (std::size_t c = 0; c < 3; ++c) figure.shift[c] = static_cast<float>(difference.shift[c]);
  if (difference.changed()) {
    figure.distance = static_cast<float>(1 - cosine(std::span(before.embeddings).subspan(tile * dim, dim),
                                                    std::span(after.embeddings).subspan(tile * dim, dim)));
  }
  return figure;
}

}  // namespace

std::vector<std::vector<VariantFigure>> variant_figures(const io::TileSet& tiles, std::span<const std::size_t> chosen,
                                                        std::span<const std::filesystem::path> stores,
                                                        std::span<const ComparedStore> pairs,
                                                        const models::Autoencoder& autoencoder,
                                                        const models::MorphologyEncoder& encoder,
                                                        std::array<std::uint8_t, 3> glass, pipeline::RunContext& ctx) {
  std::vector<std::unique_ptr<TilePainter>> painters;
  for (const std::filesystem::path& store : stores) {
    painters.push_back(std::make_unique<TilePainter>(tiles, store, autoencoder, glass));
  }
  const std::vector<std::vector<std::size_t>> groups = nearby_groups(tiles, chosen);
  const auto per_tile = static_cast<std::size_t>(tiles.tile_px) * static_cast<std::size_t>(tiles.tile_px) * 3;
  const auto dim = static_cast<std::size_t>(encoder.dim());
  ctx.set_total(static_cast<std::int64_t>(chosen.size() * pairs.size()), "tiles");

  using Figures = std::vector<VariantFigure>;  // [pairs, tiles of the group]
  pipeline::for_each_chunk<Figures>(
      ctx, groups.size(), [](std::uint64_t) { return Figures(); },
      [&](std::uint64_t id, Figures& figures) {
        std::vector<TileCell> cells;
        for (const std::size_t tile : groups[id]) cells.push_back(tiles.cells[tile]);
        std::map<std::size_t, PaintedTiles> painted;
        const auto tiles_of = [&](std::size_t store) -> const PaintedTiles& {
          const auto found = painted.find(store);
          if (found != painted.end()) return found->second;
          PaintedTiles made{painters[store]->paint_tiles(cells), std::vector<float>(cells.size() * dim)};
          encoder.encode(made.rgb, static_cast<int>(cells.size()), tiles.tile_px, made.embeddings);
          return painted.emplace(store, std::move(made)).first->second;
        };
        for (const ComparedStore& pair : pairs) {
          const PaintedTiles &before = tiles_of(pair.base), &after = tiles_of(pair.variant);
          for (std::size_t tile = 0; tile < cells.size(); ++tile) {
            figures.push_back(compare_painted(before, after, tile, per_tile, dim));
          }
          if (pair.variant != pair.base) painted.erase(pair.variant);
        }
      },
      [](std::uint64_t, Figures& figures) {
        const auto bytes = std::as_bytes(std::span(figures));
        return std::vector<std::byte>(bytes.begin(), bytes.end());
      },
      [&](std::uint64_t id) { return static_cast<std::int64_t>(groups[id].size() * pairs.size()); });

  std::map<std::size_t, std::size_t> place;  // of a tile in `chosen`
  for (std::size_t i = 0; i < chosen.size(); ++i) place[chosen[i]] = i;
  std::vector<std::vector<VariantFigure>> result(pairs.size(), std::vector<VariantFigure>(chosen.size()));
  for (std::uint64_t id = 0; id < groups.size(); ++id) {
    const std::optional<std::vector<std::byte>> bytes = ctx.chunks().read(id);
    Figures figures(groups[id].size() * pairs.size());
    if (!bytes || bytes->size() != figures.size() * sizeof(VariantFigure)) {
      throw Error(ErrorCode::kOutput, "{}: the committed part {} is gone or damaged; run the command again",
                  ctx.chunks().folder().string(), id);
    }
    std::memcpy(figures.data(), bytes->data(), bytes->size());
    for (std::size_t pair = 0; pair < pairs.size(); ++pair) {
      for (std::size_t k = 0; k < groups[id].size(); ++k) {
        result[pair][place.at(groups[id][k])] = figures[pair * groups[id].size() + k];
      }
    }
  }
  return result;
}

VariantFigure mean_figure(std::span<const VariantFigure> figures) {
  double magnitude = 0, distance = 0;
  std::array<double, 3> shift{};
  for (const VariantFigure& figure : figures) {
    magnitude += figure.magnitude;
    distance += figure.distance;
    for (std::size_t c = 0; c < 3; ++c) shift[c] += figure.shift[c];
  }
  const double n = figures.empty() ? 1 : static_cast<double>(figures.size());
  VariantFigure mean{.magnitude = static_cast<float>(magnitude / n), .distance = static_cast<float>(distance / n)};
  for (std::size_t c = 0; c < 3; ++c) mean.shift[c] = static_cast<float>(shift[c] / n);
  return mean;
}

}  // namespace vtissue::stages
