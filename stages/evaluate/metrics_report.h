#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "models/device.h"
#include "stages/evaluate/tile_comparison.h"
#include "stages/evaluate/tissue_readout.h"

namespace vtissue::stages {

/// Real and virtual tiles of the same places; row i of everything is the same place.
struct TileComparisons {
  int dim = 0;
  std::vector<float> real, made;  ///< embeddings [n, dim]
  std::vector<TilePixels> real_pixels, made_pixels;
  std::vector<TileReadout> real_readouts, made_readouts;
};

/// The figures of metrics.json (docs/stages/evaluate.md). What cannot be computed for so few tiles is
/// null, and a note says so. Throws Error kBadInput if an embedding is not finite.
nlohmann::json metrics_report(const TileComparisons& tiles, models::Device& device);

}  // namespace vtissue::stages
