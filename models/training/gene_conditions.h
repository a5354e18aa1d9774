#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "models/stmdit/config.h"
#include "models/torch.h"
#include "models/training/frozen.h"
#include "models/training/train.h"
#include "models/training/training_set.h"

namespace vtissue::models::training {

/// Expression of the places of a training set as STMDiT sees it: measured at spots, predicted for the tiles of a grid
/// (pseudo-labels), each embedded by the frozen gene encoder.
class GeneConditions {
 public:
  /// `pool` says whether a place has the class vector alone or one vector more for each gene; those are computed anew
  /// for every batch, since together they would fill the memory. Without `pseudo_labels` only spots have expression,
  /// and no predictor is asked for. Throws Error kUsage and kModel for models that are missing or do not fit.
  GeneConditions(const TrainOptions& options, const TrainingSet& set, FrozenEncoder& encoder, StmditConfig::Pool pool,
                 bool pseudo_labels, double min_tissue);

  const std::string& sha256() const { return expression_.sha256; }
  int dim() const { return expression_.dim; }
  int vectors() const { return vectors_; }                    ///< of a place: the class's, then the genes' if wanted
  const at::Tensor& deviation() const { return deviation_; }  ///< [vectors, dim], over places

  std::int64_t row_of(const SpotRef& spot) const;
  /// The nearest tile's row, or -1 if that tile has no expression.
  std::int64_t row_of(const Crop& crop) const;

  /// [n, vectors, dim]; what a row of -1 gives is to be masked.
  at::Tensor gather(const std::vector<std::int64_t>& rows);

 private:
  int tile_px_;
  int vectors_ = 1;
  FrozenExpression expression_;
  std::vector<std::int64_t> first_spot_;  ///< [sections]
  std::map<std::tuple<int, int, int>, std::int64_t> tile_row_;
  at::Tensor table_;  ///< [rows, dim] embeddings, or [rows, genes] values of which they are made
  at::Tensor deviation_;
};

}  // namespace vtissue::models::training
