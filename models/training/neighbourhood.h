#pragma once

#include <span>

#include "models/torch.h"
#include "models/training/frozen.h"
#include "models/training/train.h"
#include "models/training/training_set.h"

namespace vtissue::models::training {

/// What the predictor reads, for n places: the tile at the place, its 3x3 sub-tiles and the eight tiles around it.
struct Neighbourhood {
  at::Tensor spot;       ///< [n, F]
  at::Tensor sub;        ///< [n, 9, F], row-major; undefined unless asked for
  at::Tensor neighbors;  ///< [n, 8, F]
  at::Tensor mask;       ///< [n, 8] bool: the neighbour lies on tissue

  /// The places in `rows` [k] int64.
  Neighbourhood select(const at::Tensor& rows) const;
};

/// Encodes the crops and their neighbours one tile away, all under the crop's symmetry. A neighbour counts if
/// at least `min_tissue` of it is tissue. Sub-tiles are cut as the embed stage cuts them and prepared as the encoder's
/// engine prepares images of their size. Throws Error kInterrupted when a stop is requested.
Neighbourhood encode_neighbourhoods(const TrainingSet& set, FrozenEncoder& encoder, std::span<const Crop> centres,
                                    double min_tissue, bool subtiles, const TrainOptions& options);

}  // namespace vtissue::models::training
