#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/engines.h"
#include "pipeline/stage.h"
#include "stages/express/measured_expression.h"

namespace vtissue::stages {

struct ExpressOptions {
  MeasuredOptions measured;
  int chunk_tiles = 256;       ///< predicted tiles committed at once; rounded up to whole micro-batches
  std::string numerics_class;  ///< Device::numerics_class()
};

/// tiles and one source of expression → expression.h5ad. The source is what is bound: a measurement ("visium",
/// "h5ad", or "st_counts" with "st_spots"), whose spots are mapped to the tiles, else "features", from which
/// the predictor makes expression.
class ExpressStage : public pipeline::Stage {
 public:
  /// `panel`: the gene list of the gene encoder, which a measurement is reduced to; may be empty if only
  /// prediction is asked for. `predictor` may be null if only measurements are.
  ExpressStage(ExpressOptions options, std::vector<std::string> panel,
               std::shared_ptr<const models::ExpressionPredictor> predictor);

  std::string_view name() const override { return "express"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  /// Reads the measurement: genes, and with tiles its place on the slide; or the features' set.
  void preflight(const pipeline::Bindings& available_inputs) const override;
  pipeline::Estimate estimate(const pipeline::Bindings& available_inputs) const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  std::size_t rows_per_chunk() const;
  const models::ExpressionPredictor& require_predictor() const;

  ExpressOptions options_;
  std::vector<std::string> panel_;
  std::shared_ptr<const models::ExpressionPredictor> predictor_;
};

}  // namespace vtissue::stages
