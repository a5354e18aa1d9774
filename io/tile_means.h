#pragma once

#include <cstddef>
#include <vector>

#include "io/expression.h"
#include "io/gene_panel.h"
#include "io/spot_mapping.h"

namespace vtissue::io {

/// Expression of tiles from the spots that make them, some tiles at a time: neither spots times genes nor tiles times
/// genes are ever in memory. One thread at a time.
class TileMeans {
 public:
  /// `weights` name spots of `spots`. `pooled`: counts are added up over a tile's spots and then normalised, as bins
  /// that are smaller than a tile need it; else each spot is normalised and the means are of log1p values.
  TileMeans(SpotTable spots, PanelMatch match, SpotWeights weights, bool pooled);
  TileMeans(const TileMeans&) = delete;  // rows_ refers to the members before it
  TileMeans& operator=(const TileMeans&) = delete;

  /// log1p of counts per 10,000 of tiles [first, first + count): [count, genes], zeros where there is no spot. Sums in
  /// double, in the order of the weights.
  std::vector<float> read(std::size_t first, std::size_t count);

  const SpotTable& spots() const { return spots_; }
  const PanelMatch& match() const { return match_; }
  const SpotWeights& weights() const { return weights_; }

 private:
  SpotTable spots_;
  PanelMatch match_;
  SpotWeights weights_;
  bool pooled_;
  PanelRows rows_;
  std::vector<double> sums_;
};

}  // namespace vtissue::io
