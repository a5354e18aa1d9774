#include "io/tile_means.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace vtissue::io {

TileMeans::TileMeans(SpotTable spots, PanelMatch match, SpotWeights weights, bool pooled)
    : spots_(std::move(spots)),
      match_(std::move(match)),
      weights_(std::move(weights)),
      pooled_(pooled),
      rows_(spots_, match_),
      sums_(match_.genes.size()) {}

std::vector<float> TileMeans::read(std::size_t first, std::size_t count) {
  const std::size_t genes = match_.genes.size();
  std::vector<float> out(count * genes, 0.0f);
  for (std::size_t tile = first; tile < first + count; ++tile) {
    std::ranges::fill(sums_, 0.0);
    double total = 0;
    for (auto i = weights_.indptr[tile]; i < weights_.indptr[tile + 1]; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto spot = static_cast<std::size_t>(weights_.spots[at]);
      const double weight = weights_.weights[at], spot_total = rows_.total(spot);
      total += weight * spot_total;
      if (!(spot_total > 0)) continue;
      for (const PanelRows::Entry& entry : rows_.spot(spot)) {
        const double value = pooled_ ? entry.value : double{rows_.log_value(entry.value, spot_total)};
        sums_[static_cast<std::size_t>(entry.gene)] += weight * value;
      }
    }
    float* row = out.data() + (tile - first) * genes;
    for (std::size_t gene = 0; gene < genes; ++gene) {
      if (sums_[gene] == 0) continue;
      row[gene] = pooled_ ? rows_.log_value(sums_[gene], total) : static_cast<float>(sums_[gene]);
    }
  }
  return out;
}

}  // namespace vtissue::io
