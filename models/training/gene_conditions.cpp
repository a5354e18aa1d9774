#include "models/training/gene_conditions.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "models/training/tile_expression.h"

namespace vtissue::models::training {
namespace {

/// Places that the deviation of all vectors is taken over.
constexpr std::int64_t kDeviationRows = 256;

}  // namespace

GeneConditions::GeneConditions(const TrainOptions& options, const TrainingSet& set, FrozenEncoder& encoder,
                               StmditConfig::Pool pool, bool pseudo_labels, double min_tissue)
    : tile_px_(encoder.px), expression_(FrozenExpression::open(options.expression)) {
  require_genes(expression_.genes, set.genes(), options.expression.string());
  const auto genes = static_cast<std::int64_t>(set.genes().size());
  if (pool != StmditConfig::Pool::kCls) vectors_ = static_cast<int>(genes) + 1;
  std::vector<at::Tensor> rows;
  std::int64_t count = 0;
  const auto add = [&](const at::Tensor& values) {
    rows.push_back(vectors_ == 1 ? expression_.encode(values) : values);
  };
  for (const TrainingSection& section : set.sections()) {
    first_spot_.push_back(count);
    if (section.spots() == 0) continue;
    add(at::from_blob(const_cast<float*>(section.counts.data()), {section.spots(), genes}, at::kFloat));
    count += section.spots();
  }
  if (pseudo_labels) {
    FrozenPredictor predictor = FrozenPredictor::open(options.predictor);
    for (const Split split : {Split::kTrain, Split::kValidation}) {
      for (const TileExpression& tiles : predict_tiles(options, set, split, encoder, predictor, min_tissue)) {
        add(tiles.values);
        for (const Crop& tile : tiles.tiles) tile_row_[{tiles.section, tile.x / tile_px_, tile.y / tile_px_}] = count++;
      }
    }
  }
  if (count == 0) {
    throw Error(ErrorCode::kBadInput,
                "{}: no section has spots, and without \"pseudo_labels\" nothing else has expression",
                set.path().string());
  }
  table_ = at::cat(rows);
  if (vectors_ == 1) {
    deviation_ = table_.std(0, count > 1).unsqueeze(0);
    return;
  }
  std::vector<std::int64_t> sample;
  for (std::int64_t i = 0; i < std::min(count, kDeviationRows); ++i) {
    sample.push_back(i * count / std::min(count, kDeviationRows));
  }
  deviation_ = gather(sample).std(0, sample.size() > 1);
}

std::int64_t GeneConditions::row_of(const SpotRef& spot) const {
  return first_spot_[static_cast<std::size_t>(spot.section)] + spot.spot;
}

std::int64_t GeneConditions::row_of(const Crop& crop) const {
  const auto cell = [&](int at) { return static_cast<int>(std::lround(static_cast<double>(at) / tile_px_)); };
  const auto found = tile_row_.find({crop.section, cell(crop.x), cell(crop.y)});
  return found == tile_row_.end() ? -1 : found->second;
}

at::Tensor GeneConditions::gather(const std::vector<std::int64_t>& rows) {
  const at::Tensor picked = table_.index_select(0, at::tensor(rows).clamp_min(0));
  return vectors_ == 1 ? picked.unsqueeze(1) : expression_.encode_vectors(picked);
}

}  // namespace vtissue::models::training
