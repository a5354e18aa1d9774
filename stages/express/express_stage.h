#pragma once

#include <filesystem>
#include <memory>
#include <optional>
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
  /// µm/px of the slide's level 0 instead of the file's, for preflight() alone: tiles.h5 has it later.
  std::optional<double> slide_mpp;
};

/// tiles and one source of expression → expression.h5ad. The source is what is bound: a measurement ("visium",
/// "h5ad", or "st_counts" with "st_spots"), whose spots are mapped to the tiles, else "features", from which
/// the predictor makes expression. "slide" is looked at in preflight() alone, as long as there are no tiles: whether a
/// measurement lies on it.
class ExpressStage : public pipeline::Stage {
 public:
  /// `panel`: the gene list of the gene encoder, which a measurement is reduced to; may be empty if only
  /// prediction is asked for. `predictor` may be null if only measurements are.
  ExpressStage(ExpressOptions options, std::vector<std::string> panel,
               std::shared_ptr<const models::ExpressionPredictor> predictor);

  std::string_view name() const override { return "express"; }
  int format_version() const override { return 3; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  /// Reads the measurement: genes, and with tiles or slide its place on the slide; or the features' set.
  void preflight(const pipeline::Bindings& available_inputs) const override;
  /// Of a Visium folder those that the reader opens: no BAM, no images.
  std::optional<std::vector<std::filesystem::path>> files_read(std::string_view port,
                                                               const std::filesystem::path& folder) const override;
  pipeline::Estimate estimate(const pipeline::Bindings& available_inputs) const override;
  /// Predicted expression alone: a measurement is read as a whole by whoever lays out the table.
  bool divisible(const pipeline::Bindings& inputs) const override { return !SpotFiles::of(inputs).any(); }
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  /// Those that the result depends on, as the table states them.
  nlohmann::json settings() const;
  std::size_t rows_per_chunk() const;
  const models::ExpressionPredictor& require_predictor() const;

  ExpressOptions options_;
  std::vector<std::string> panel_;
  std::shared_ptr<const models::ExpressionPredictor> predictor_;
};

}  // namespace vtissue::stages
