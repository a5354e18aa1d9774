#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "io/expression.h"
#include "io/gene_panel.h"
#include "io/spot_mapping.h"
#include "pipeline/run_context.h"
#include "pipeline/stage.h"
#include "stages/express/expression_table.h"

namespace vtissue::stages {

struct MeasuredOptions {
  io::SpotMapping mapping = io::SpotMapping::kNearest;
  std::optional<double> max_distance_um;  ///< from a tile's centre; default: as io::SpotMappingOptions says
  double min_matched_genes = 0.5;         ///< of the panel, 0..1; fewer: Error kBadInput
};

/// The files of a measurement among a stage's inputs: ports "visium" (a folder), "h5ad", or "st_counts" with
/// "st_spots".
struct SpotFiles {
  std::filesystem::path visium, h5ad, st_counts, st_spots;

  static SpotFiles of(const pipeline::Bindings& inputs);
  bool any() const;
  /// What messages call it.
  const std::filesystem::path& name() const;
  /// Throws Error kUsage unless exactly one measurement is whole.
  void require_one() const;
  io::SpotTable read() const;
};

/// The panel's expression of the spots. Throws Error kBadInput if too few of its genes are there.
io::PanelExpression read_panel(const io::SpotTable& spots, const SpotFiles& files, std::span<const std::string> panel,
                               const MeasuredOptions& options);

/// Spots mapped to tiles: weighted means of log1p CP10k. Spots outside the slide and spots in which
/// nothing was counted do not take part. Reports spots, genes and what was left out; throws Error kBadInput if spots
/// and slide do not fit (io::check_placement) or no spot reaches a tile.
TileExpression measured_expression(const SpotFiles& files, const io::TileSet& tiles, std::span<const std::string> panel,
                                   const MeasuredOptions& options, pipeline::RunContext& ctx);

}  // namespace vtissue::stages
