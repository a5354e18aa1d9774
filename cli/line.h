#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/engines.h"
#include "cli/session.h"
#include "core/units.h"
#include "pipeline/config.h"
#include "pipeline/graph.h"

namespace vtissue::cli {

/// Names of the files in an output folder (DESIGN 8): fixed, so that workflow engines can declare them.
namespace output_names {
inline constexpr const char* kTiles = "tiles.h5";
inline constexpr const char* kFeatures = "features.h5";
inline constexpr const char* kExpression = "expression.h5ad";
inline constexpr const char* kGenes = "genes.h5";
inline constexpr const char* kLatents = "latents";
inline constexpr const char* kWindows = "windows";  ///< with exact conditions: a folder for each lattice
inline constexpr const char* kVirtual = "virtual.tiff";
inline constexpr const char* kMetrics = "metrics.json";
inline constexpr const char* kReport = "report.html";
inline constexpr const char* kPreview = "preview.png";
inline constexpr const char* kOod = "ood.json";
inline constexpr const char* kOodMap = "ood.png";
inline constexpr const char* kRun = "run.json";
}  // namespace output_names

/// Where expression comes from; all empty: it is predicted.
struct ExpressionSource {
  std::filesystem::path visium;               ///< Space Ranger's outs/
  std::filesystem::path h5ad;                 ///< .h5ad or .h5ad.gz
  std::filesystem::path st_counts, st_spots;  ///< legacy ST tables, both

  bool measured() const { return !visium.empty() || !h5ad.empty() || !st_counts.empty(); }
  /// Throws Error kUsage: more than one source, or half of one.
  void check() const;
};

struct LineInputs {
  std::filesystem::path slide;                     ///< may be empty where expression is measured
  std::filesystem::path annotations, tissue_mask;  ///< empty: what the configuration names, if it does
  ExpressionSource expression;
  std::filesystem::path out;
};

// The stages as a configuration describes them: one place for the line and for the subcommands.
std::shared_ptr<const pipeline::Stage> make_tile_stage(const pipeline::Config& config);
std::shared_ptr<const pipeline::Stage> make_spot_grid_stage(const pipeline::Config& config, Engines& engines);
std::shared_ptr<const pipeline::Stage> make_embed_stage(const pipeline::Config& config, Engines& engines,
                                                        bool for_predictor);
std::shared_ptr<const pipeline::Stage> make_express_stage(const pipeline::Config& config, Engines& engines,
                                                          const ExpressionSource& source);
std::shared_ptr<const pipeline::Stage> make_encode_stage(const pipeline::Config& config, Engines& engines);
std::shared_ptr<const pipeline::Stage> make_synthesize_stage(const pipeline::Config& config, Engines& engines);
std::shared_ptr<const pipeline::Stage> make_stitch_stage(const pipeline::Config& config, Engines& engines);
std::shared_ptr<const pipeline::Stage> make_evaluate_stage(const pipeline::Config& config, Engines& engines);
/// `run` as ReportOptions::run.
std::shared_ptr<const pipeline::Stage> make_report_stage(const pipeline::Config& config, nlohmann::json run);

/// tile → … → synthesize → preview.png, outputs in `inputs.out`: the tiles that `config` keeps, of which `region` is
/// shown. Checked as make_line() does.
pipeline::Graph make_preview_line(const pipeline::Config& config, const LineInputs& inputs, const Box<Level0Px>& region,
                                  Engines& engines);

/// tile → … → report, outputs in `inputs.out`; without a slide spot_grid → … → stitch, from expression alone. Every
/// model is loaded and they are checked against each other (require_models_fit), so that a wrong one is found first.
pipeline::Graph make_line(const pipeline::Config& config, const LineInputs& inputs, Engines& engines);

}  // namespace vtissue::cli
