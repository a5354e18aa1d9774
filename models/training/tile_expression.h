#pragma once

#include <vector>

#include "models/torch.h"
#include "models/training/neighbourhood.h"

namespace vtissue::models::training {

/// Expression predicted for the tiles of a section's grid.
struct TileExpression {
  int section = 0;
  std::vector<Crop> tiles;  ///< by row
  at::Tensor values;        ///< [tiles, genes]: log1p of counts per 10,000
};

/// Predicts for every tile of the sections of a split with at least `min_tissue` of tissue. Throws Error kModel if the
/// predictor was trained on another encoder.
std::vector<TileExpression> predict_tiles(const TrainOptions& options, const TrainingSet& set, Split split,
                                          FrozenEncoder& encoder, FrozenPredictor& predictor, double min_tissue);

}  // namespace vtissue::models::training
