#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "io/alignment.h"
#include "io/expression.h"
#include "io/gene_panel.h"
#include "io/spot_mapping.h"
#include "pipeline/run_context.h"
#include "pipeline/stage.h"
#include "stages/express/expression_table.h"

namespace vtissue::stages {

struct MeasuredOptions {
  io::SpotMapping mapping = io::SpotMapping::kAuto;
  std::optional<double> max_distance_um;  ///< from a tile's centre; default: as io::SpotMappingOptions says
  double min_matched_genes = 0.5;         ///< of the panel, 0..1; fewer: Error kBadInput
  int bin_um = 8;                         ///< which bins of Visium HD
  bool refuse_misaligned = true;          ///< spots that fit the tissue better in another orientation; false: warn
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
};

/// A measurement and where the panel's genes are in it.
struct Measurement {
  io::SpotTable spots;  ///< of a Visium folder with the panel's genes alone
  io::PanelMatch match;
};
/// The spots' places are in square level-0 pixels: `pixel_aspect` as TileSet's. Throws Error kBadInput if too few of
/// the panel's genes are there, kModel if there is no panel.
Measurement read_measurement(const SpotFiles& files, std::span<const std::string> panel, const MeasuredOptions& options,
                             double pixel_aspect = 1);

/// How the spots lie on a slide. Throws Error kBadInput if they do not (io::check_placement), or if they fit its tissue
/// clearly better in another orientation or scale (io::check_alignment) and options.refuse_misaligned is set.
struct SpotCheck {
  io::SpotPlacement placement;
  io::Alignment alignment;
};
SpotCheck check_spots(const io::SpotTable& spots, std::span<const double> totals, Size<Level0Px> slide,
                      std::optional<double> mpp, const io::TissueMap& tissue, const SpotFiles& files,
                      const MeasuredOptions& options);
/// The tissue of a slide's tiles, as its mask has it.
io::TissueMap tissue_of(const io::TileSet& tiles);

/// Spots mapped to tiles: weighted means of log1p CP10k, or log1p CP10k of pooled counts. Spots outside the slide and
/// spots in which nothing was counted do not take part. Reports spots, genes and what was left out; throws Error
/// kBadInput if spots and slide do not fit (check_spots) or no spot reaches a tile.
TileExpression measured_expression(const SpotFiles& files, const io::TileSet& tiles, std::span<const std::string> panel,
                                   const MeasuredOptions& options, pipeline::RunContext& ctx);

}  // namespace vtissue::stages
