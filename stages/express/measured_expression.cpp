#include "stages/express/measured_expression.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/error.h"

namespace vtissue::stages {
namespace {

constexpr float kFewCounts = 1000;  // a spot's median; below, single genes are mostly noise

float median(std::vector<float> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Takes the spots that are not on the slide or have no count out of positions and panel; returns how many on it had
/// none.
std::size_t drop_unusable_spots(io::SpotTable& spots, io::PanelExpression& panel, Size<Level0Px> slide) {
  const std::size_t genes = panel.genes.size();
  std::size_t kept = 0, empty = 0;
  for (std::size_t spot = 0; spot < panel.spots; ++spot) {
    if (!io::lies_on(slide, spots.x[spot], spots.y[spot])) continue;
    if (!(panel.totals[spot] > 0)) {
      ++empty;
      continue;
    }
    spots.x[kept] = spots.x[spot];
    spots.y[kept] = spots.y[spot];
    panel.totals[kept] = panel.totals[spot];
    if (kept != spot) {
      std::copy_n(panel.values.begin() + static_cast<std::ptrdiff_t>(spot * genes), genes,
                  panel.values.begin() + static_cast<std::ptrdiff_t>(kept * genes));
    }
    ++kept;
  }
  spots.x.resize(kept), spots.y.resize(kept);
  panel.totals.resize(kept), panel.values.resize(kept * genes);
  panel.spots = kept;
  return empty;
}

void report_spots(const io::SpotTable& spots, const io::PanelExpression& panel, const io::SpotPlacement& placement,
                  std::size_t empty, pipeline::RunContext& ctx) {
  const std::size_t all = panel.spots + empty + placement.outside;
  ctx.report("spots", all);
  ctx.report("spots_outside_slide", placement.outside);
  ctx.report("spots_without_counts", empty);
  ctx.report("genes", panel.genes.size());
  ctx.report("genes_matched", panel.matched());
  ctx.report("genes_matched_by", panel.matched_by);
  if (placement.mpp_from_pitch) ctx.report("mpp_from_pitch", *placement.mpp_from_pitch);
  if (placement.outside > 0) {
    ctx.warn(fmt::format("{} of {} spots lie outside the slide and are left out", placement.outside, all));
  }
  if (empty > 0) ctx.warn(fmt::format("{} of {} spots have no counts and are left out", empty, all));
  if (!panel.missing.empty()) {
    ctx.warn(fmt::format("{} of the {} genes of the panel are not in the table and count as 0", panel.missing.size(),
                         panel.genes.size()));
  }
  if (!spots.log_normalized && panel.spots > 0) {
    const float counts = median(panel.totals);
    ctx.report("median_counts_per_spot", counts);
    if (counts < kFewCounts) {
      ctx.warn(
          fmt::format("the spots have a median of {:.0f} counts, which is little; measured expression of single genes "
                      "is uncertain",
                      counts));
    }
  }
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

io::SpotTable SpotFiles::read() const {
  if (!visium.empty()) return io::read_visium(visium);
  return h5ad.empty() ? io::read_legacy_st(st_counts, st_spots) : io::read_h5ad_spots(h5ad);
}

io::PanelExpression read_panel(const io::SpotTable& spots, const SpotFiles& files, std::span<const std::string> panel,
                               const MeasuredOptions& options) {
  if (panel.empty()) {
    throw Error(ErrorCode::kModel,
                "{}: measured expression needs the gene list of a gene encoder, and none is configured",
                files.name().string());
  }
  io::PanelExpression expression = io::match_panel(spots, panel);
  expression.require_matched(options.min_matched_genes, files.name().string());
  return expression;
}

TileExpression measured_expression(const SpotFiles& files, const io::TileSet& tiles, std::span<const std::string> panel,
                                   const MeasuredOptions& options, pipeline::RunContext& ctx) {
  io::SpotTable spots = files.read();
  const io::SpotPlacement placement =
      io::check_placement(spots, tiles.slide_size, tiles.source_mpp, files.name().string());
  ctx.throw_if_stopped();
  io::PanelExpression expression = read_panel(spots, files, panel, options);
  const std::size_t empty = drop_unusable_spots(spots, expression, tiles.slide_size);
  report_spots(spots, expression, placement, empty, ctx);

  const TileCentres centres = tile_centres(tiles);
  io::SpotMappingOptions mapping{.mapping = options.mapping};
  if (options.max_distance_um) mapping.max_distance_px = *options.max_distance_um / tiles.source_mpp;
  const double half_px = tiles.tile_px * tiles.target_mpp / tiles.source_mpp / 2;
  io::SpotWeights weights = io::map_spots(spots, {centres.x, centres.y, half_px}, mapping);

  TileExpression result;
  result.genes.assign(panel.begin(), panel.end());
  result.source = spots.source;
  result.provenance["mapping"] = io::to_string(options.mapping);
  for (std::size_t tile = 0; tile < weights.tiles(); ++tile) result.spots.push_back(weights.spots_of(tile));
  if (weights.spots.empty()) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: none of the {} spots reaches one of the {} tiles with mapping {}; check that spots and slide belong "
        "together, or give a larger express.max_distance_um",
        files.name().string(), spots.x.size(), tiles.cells.size(), io::to_string(options.mapping));
  }
  constexpr std::size_t kBlockRows = 1024;
  result.block_rows = kBlockRows;
  result.read = [weights = std::move(weights), values = std::move(expression.values), width = panel.size()](
                    std::uint64_t id, std::size_t n) {
    const std::size_t first = static_cast<std::size_t>(id) * kBlockRows;
    FeatureRows rows{.valid = {}, .values = io::apply_weights(weights, values, width, first, n)};
    for (std::size_t tile = first; tile < first + n; ++tile) rows.valid.push_back(weights.spots_of(tile) > 0 ? 1 : 0);
    return rows;
  };
  return result;
}

}  // namespace vtissue::stages
