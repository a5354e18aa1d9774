#pragma once

#include <filesystem>
#include <string>

#include "io/feature_store.h"
#include "models/engines.h"
#include "pipeline/run_context.h"
#include "stages/express/expression_table.h"

namespace vtissue::stages {

/// The set of features.h5 that a predictor reads: "predictor", or "morphology" where there is no set of its
/// own. Throws Error kBadInput if the rows are not the tiles', and kModel if the set comes from another encoder than
/// the predictor was trained on, has another length, or lacks the sub-tiles it needs.
io::FeatureSetInfo predictor_set(const std::filesystem::path& path, const io::FeatureReader& features,
                                 const io::TileSet& tiles, const models::ExpressionPredictor& predictor);

/// Expression predicted from each tile, its 3x3 sub-tiles and up to eight neighbours on the base grid (cells
/// two half tiles away; tiles without an embedding are no neighbours). Committed in chunks of `rows_per_chunk`
/// tiles, from which the result reads its blocks; it must not outlive `ctx`.
TileExpression predicted_expression(const std::filesystem::path& features, const io::TileSet& tiles,
                                    const models::ExpressionPredictor& predictor, std::size_t rows_per_chunk,
                                    pipeline::RunContext& ctx);

}  // namespace vtissue::stages
