#include "models/training/tile_expression.h"

#include "core/error.h"

namespace vtissue::models::training {

std::vector<TileExpression> predict_tiles(const TrainOptions& options, const TrainingSet& set, Split split,
                                          FrozenEncoder& encoder, FrozenPredictor& predictor, double min_tissue) {
  if (predictor.encoder_sha256 != encoder.sha256) {
    throw Error(ErrorCode::kModel, "{}: trained on the features of encoder {:.12}, but {} is {:.12}",
                options.predictor.string(), predictor.encoder_sha256, options.encoder.string(), encoder.sha256);
  }
  require_genes(predictor.genes, set.genes(), options.predictor.string());
  std::vector<TileExpression> result;
  for (std::size_t i = 0; i < set.sections().size(); ++i) {
    const TrainingSection& section = set.sections()[i];
    if (section.validation != (split == Split::kValidation)) continue;
    TileExpression expression;
    expression.section = static_cast<int>(i);
    for (int y = 0; y + encoder.px <= section.height; y += encoder.px) {
      for (int x = 0; x + encoder.px <= section.width; x += encoder.px) {
        if (set.tissue(expression.section, x, y, encoder.px) < min_tissue) continue;
        expression.tiles.push_back({expression.section, x, y, 0});
      }
    }
    if (expression.tiles.empty()) continue;
    const Neighbourhood input = encode_neighbourhoods(set, encoder, expression.tiles, min_tissue,
                                                      predictor.deepspot->config().subtiles, options);
    expression.values = predictor.predict(input);
    result.push_back(std::move(expression));
  }
  return result;
}

}  // namespace vtissue::models::training
