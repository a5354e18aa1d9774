#include "stages/synthesize/window_conditions.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace vtissue::stages {
namespace {

using Overlap = TissueCanvas::Overlap;

/// Conditions of some tiles, read in runs.
class TileRows {
 public:
  /// `tiles` sorted, unique.
  TileRows(const ConditionSource& source, const std::vector<std::size_t>& tiles) {
    for (std::size_t i = 0; i < tiles.size();) {
      std::size_t run = 1;
      while (i + run < tiles.size() && tiles[i + run] == tiles[i] + run) ++run;
      const ConditionRows rows = source.read(tiles[i], run);
      const std::size_t morphology = rows.morphology.size() / run, gene = rows.gene.size() / run;
      for (std::size_t k = 0; k < run; ++k) {
        const auto part = [k](const std::vector<float>& values, std::size_t width) {
          const auto first = values.begin() + static_cast<std::ptrdiff_t>(k * width);
          return std::vector<float>(first, first + static_cast<std::ptrdiff_t>(width));
        };
        rows_.emplace(tiles[i + k], ConditionRows{part(rows.morphology, morphology),
                                                  {rows.has_morphology[k]},
                                                  part(rows.gene, gene),
                                                  {rows.has_gene[k]}});
      }
      i += run;
    }
  }

  const ConditionRows& at(std::size_t tile) const { return rows_.at(tile); }

 private:
  std::map<std::size_t, ConditionRows> rows_;
};

/// Appends the weighted mean of a modality over the overlaps that have it; zeros if none does.
void append_mean(const TileRows& tiles, const std::vector<Overlap>& overlaps, std::vector<float> ConditionRows::*values,
                 std::vector<std::uint8_t> ConditionRows::*valid, std::size_t width, ConditionRows& out) {
  double area = 0;
  std::vector<double> sum(width);
  for (const Overlap& overlap : overlaps) {
    const ConditionRows& tile = tiles.at(overlap.tile);
    if ((tile.*valid)[0] == 0) continue;
    area += overlap.area();
    for (std::size_t k = 0; k < width; ++k) sum[k] += overlap.area() * double{(tile.*values)[k]};
  }
  (out.*valid).push_back(area > 0 ? 1 : 0);
  for (const double value : sum) (out.*values).push_back(area > 0 ? static_cast<float>(value / area) : 0.0f);
}

}  // namespace

ConditionRows window_conditions(const ConditionSource& source, const TissueCanvas& canvas,
                                std::span<const Point<Latent>> windows) {
  std::vector<std::vector<Overlap>> overlaps;
  std::vector<std::size_t> needed;
  for (const Point<Latent> window : windows) {
    overlaps.push_back(canvas.overlaps(window));
    for (const Overlap& overlap : overlaps.back()) needed.push_back(overlap.tile);
  }
  std::ranges::sort(needed);
  needed.erase(std::unique(needed.begin(), needed.end()), needed.end());
  const TileRows tiles(source, needed);
  ConditionRows result;
  if (needed.empty()) return result;
  const std::size_t morphology = tiles.at(needed.front()).morphology.size();
  const std::size_t gene = tiles.at(needed.front()).gene.size();
  for (const std::vector<Overlap>& under : overlaps) {
    append_mean(tiles, under, &ConditionRows::morphology, &ConditionRows::has_morphology, morphology, result);
    append_mean(tiles, under, &ConditionRows::gene, &ConditionRows::has_gene, gene, result);
  }
  return result;
}

}  // namespace vtissue::stages
