#include "stages/express/measured_expression.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "core/error.h"
#include "io/spot_record.h"
#include "io/tile_means.h"

namespace vtissue::stages {
namespace {

constexpr double kFewCounts = 1000;  // a spot's median; below, single genes are mostly noise

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The spots that take part: on the slide, and something was counted there.
struct UsableSpots {
  std::vector<std::size_t> rows;
  std::vector<double> totals;  ///< of those
  std::size_t empty = 0;       ///< spots on the slide without counts
};

UsableSpots usable_spots(const io::SpotTable& spots, std::span<const double> totals, Size<Level0Px> slide) {
  UsableSpots usable;
  for (std::size_t spot = 0; spot < spots.x.size(); ++spot) {
    if (!io::lies_on(slide, spots.x[spot], spots.y[spot])) continue;
    if (!(totals[spot] > 0)) {
      ++usable.empty;
      continue;
    }
    usable.rows.push_back(spot);
    usable.totals.push_back(totals[spot]);
  }
  return usable;
}

/// Weights of the usable spots, by their rows in the table.
io::SpotWeights map_usable_spots(const io::SpotTable& spots, const UsableSpots& usable, const io::TileSquares& tiles,
                                 const io::SpotMappingOptions& options) {
  io::SpotTable placed;
  placed.pitch_px = spots.pitch_px;
  placed.pitch_um = spots.pitch_um;
  placed.spot_diameter_px = spots.spot_diameter_px;
  placed.source = spots.source;
  for (const std::size_t row : usable.rows) {
    placed.x.push_back(spots.x[row]);
    placed.y.push_back(spots.y[row]);
  }
  io::SpotWeights weights = io::map_spots(placed, tiles, options);
  for (std::int32_t& spot : weights.spots) {
    spot = static_cast<std::int32_t>(usable.rows[static_cast<std::size_t>(spot)]);
  }
  return weights;
}

void report_genes(const io::PanelMatch& match, pipeline::RunContext& ctx) {
  constexpr std::size_t kMostNames = 100;
  ctx.report("genes", match.genes.size());
  ctx.report("genes_matched", match.matched());
  ctx.report("genes_matched_by", match.matched_by);
  if (match.missing.empty()) return;
  const std::size_t named = std::min(match.missing.size(), kMostNames);
  ctx.report("genes_missing", std::vector<std::string>(match.missing.begin(),
                                                       match.missing.begin() + static_cast<std::ptrdiff_t>(named)));
  ctx.warn(fmt::format("{} of the {} genes of the panel are not in the table and count as 0 ({}{})",
                       match.missing.size(), match.genes.size(), match.missing.front(),
                       match.missing.size() > 1 ? ", …" : ""));
}

void report_spots(const io::SpotTable& spots, const SpotCheck& check, const UsableSpots& usable, double mpp,
                  pipeline::RunContext& ctx) {
  const io::SpotPlacement& placement = check.placement;
  const std::size_t all = spots.x.size();
  ctx.report("spots", all);
  ctx.report("spots_outside_slide", placement.outside);
  ctx.report("spots_without_counts", usable.empty);
  if (placement.mpp_from_pitch) ctx.report("mpp_from_pitch", *placement.mpp_from_pitch);
  if (spots.pitch_px) ctx.report("spot_pitch_um", *spots.pitch_px * mpp);
  if (const auto radius = io::spot_radius(spots)) ctx.report("spot_diameter_um", 2 * *radius * mpp);
  const io::Alignment& alignment = check.alignment;
  ctx.report("alignment", {{"spots_on_tissue", alignment.given.density}, {"correlation", alignment.given.correlation}});
  if (placement.outside > 0) {
    ctx.warn(fmt::format("{} of {} spots lie outside the slide and are left out", placement.outside, all));
  }
  if (placement.twice > 0) ctx.warn(fmt::format("{} spots lie at another spot's place", placement.twice));
  if (usable.empty > 0) ctx.warn(fmt::format("{} of {} spots have no counts and are left out", usable.empty, all));
  if (alignment.better) ctx.warn(fmt::format("the {}; check the alignment", alignment.advice()));
  if (!spots.log_normalized && !usable.totals.empty()) {
    const double counts = median(usable.totals);
    ctx.report("median_counts_per_spot", counts);
    // Bins are smaller than spots and are added up.
    if (counts < kFewCounts && spots.source != "visium-hd") {
      ctx.warn(
          fmt::format("the spots have a median of {:.0f} counts, which is little; measured expression of single genes "
                      "is uncertain",
                      counts));
    }
  }
}

io::SpotTable read_spots(const SpotFiles& files, std::span<const std::string> panel, const MeasuredOptions& options) {
  if (!files.visium.empty()) {
    return io::read_visium(files.visium, {.bin_um = options.bin_um, .keep = io::panel_filter(panel)});
  }
  return files.h5ad.empty() ? io::read_legacy_st(files.st_counts, files.st_spots) : io::read_h5ad_spots(files.h5ad);
}

}  // namespace

SpotFiles SpotFiles::of(const pipeline::Bindings& inputs) {
  const auto path = [&](std::string_view port) {
    const auto found = inputs.find(port);
    return found == inputs.end() ? std::filesystem::path() : found->second;
  };
  return {path("visium"), path("h5ad"), path("st_counts"), path("st_spots")};
}

bool SpotFiles::any() const { return !visium.empty() || !h5ad.empty() || !st_counts.empty() || !st_spots.empty(); }

const std::filesystem::path& SpotFiles::name() const {
  if (!visium.empty()) return visium;
  return h5ad.empty() ? st_counts : h5ad;
}

void SpotFiles::require_one() const {
  if (st_counts.empty() != st_spots.empty()) {
    throw Error(ErrorCode::kUsage, "{}: legacy ST needs both tables, counts and spot positions; the {} are missing",
                (st_counts.empty() ? st_spots : st_counts).string(), st_counts.empty() ? "counts" : "positions");
  }
  if (int{!visium.empty()} + int{!h5ad.empty()} + int{!st_counts.empty()} > 1) {
    throw Error(ErrorCode::kUsage,
                "more than one measurement is given ({}, …); give a Visium folder, an h5ad or legacy ST "
                "tables",
                name().string());
  }
}

Measurement read_measurement(const SpotFiles& files, std::span<const std::string> panel, const MeasuredOptions& options,
                             double pixel_aspect) {
  if (panel.empty()) {
    throw Error(ErrorCode::kModel,
                "{}: measured expression needs the gene list of a gene encoder, and none is configured",
                files.name().string());
  }
  Measurement measurement;
  measurement.spots = read_spots(files, panel, options);
  if (pixel_aspect != 1) {
    for (double& y : measurement.spots.y) y *= pixel_aspect;
    if (auto& size = measurement.spots.image_size) {
      size->height = static_cast<std::int64_t>(std::floor(static_cast<double>(size->height) * pixel_aspect + 1e-9));
    }
  }
  const io::ExpressionMatrix& counts = measurement.spots.counts;
  measurement.match = io::match_genes(counts.genes, counts.gene_ids, panel);
  measurement.match.require_matched(options.min_matched_genes, files.name().string());
  return measurement;
}

SpotCheck check_spots(const io::SpotTable& spots, std::span<const double> totals, Size<Level0Px> slide,
                      std::optional<double> mpp, const io::TissueMap& tissue, const SpotFiles& files,
                      const MeasuredOptions& options) {
  const std::string name = files.name().string();
  SpotCheck check{io::check_placement(spots, slide, mpp, name, &tissue),
                  io::check_alignment(spots, totals, tissue, slide)};
  if (check.alignment.refuted && options.refuse_misaligned) {
    throw Error(ErrorCode::kBadInput,
                "{}: the spots do not lie on the slide's tissue as they should; the {}. Correct the positions or give "
                "the image of the alignment; express.on_misalignment=warn goes on with the spots as they are",
                name, check.alignment.advice());
  }
  return check;
}

io::TissueMap tissue_of(const io::TileSet& tiles) {
  return io::tissue_map_of_mask(tiles.mask, tiles.mask_size, tiles.mask_mpp / tiles.source_mpp);
}

TileExpression measured_expression(const SpotFiles& files, const io::TileSet& tiles, std::span<const std::string> panel,
                                   const MeasuredOptions& options, pipeline::RunContext& ctx) {
  Measurement measurement = read_measurement(files, panel, options, tiles.pixel_aspect);
  ctx.throw_if_stopped();
  const io::SpotTable& spots = measurement.spots;
  const std::vector<double> totals = io::spot_totals(spots);
  const SpotCheck check =
      check_spots(spots, totals, tiles.slide_size, tiles.source_mpp, tissue_of(tiles), files, options);
  const UsableSpots usable = usable_spots(spots, totals, tiles.slide_size);
  report_spots(spots, check, usable, tiles.source_mpp, ctx);
  report_genes(measurement.match, ctx);

  const TileCentres centres = tile_centres(tiles);
  const double half_px = tiles.tile_px * tiles.target_mpp / tiles.source_mpp / 2;
  io::SpotMappingOptions mapping{.mapping = io::resolve_mapping(options.mapping, spots, half_px)};
  if (options.max_distance_um) mapping.max_distance_px = *options.max_distance_um / tiles.source_mpp;
  io::SpotWeights weights = map_usable_spots(spots, usable, {centres.x, centres.y, half_px}, mapping);

  TileExpression result;
  result.genes.assign(panel.begin(), panel.end());
  result.source = spots.source;
  result.provenance["mapping"] = io::to_string(mapping.mapping);
  ctx.report("mapping", io::to_string(mapping.mapping));
  for (std::size_t tile = 0; tile < weights.tiles(); ++tile) result.spots.push_back(weights.spots_of(tile));
  if (weights.spots.empty()) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: none of the {} spots reaches one of the {} tiles with mapping {}; check that spots and slide belong "
        "together, or give a larger express.max_distance_um",
        files.name().string(), usable.rows.size(), tiles.cells.size(), io::to_string(mapping.mapping));
  }
  const auto means = std::make_shared<io::TileMeans>(std::move(measurement.spots), std::move(measurement.match),
                                                     std::move(weights), mapping.mapping == io::SpotMapping::kPool);
  constexpr std::size_t kBlockRows = 1024;
  result.block_rows = kBlockRows;
  result.read = [means](std::uint64_t id, std::size_t n) {
    const std::size_t first = static_cast<std::size_t>(id) * kBlockRows;
    FeatureRows rows{.valid = {}, .values = means->read(first, n)};
    for (std::size_t tile = first; tile < first + n; ++tile) {
      rows.valid.push_back(means->weights().spots_of(tile) > 0 ? 1 : 0);
    }
    return rows;
  };
  result.record = [means](const std::filesystem::path& path) {
    io::add_spot_record(path, means->weights(), means->spots().barcodes);
  };
  return result;
}

}  // namespace vtissue::stages
