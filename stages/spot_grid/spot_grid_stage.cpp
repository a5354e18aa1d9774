#include "stages/spot_grid/spot_grid_stage.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/error.h"
#include "io/feature_store.h"
#include "io/tile_reader.h"
#include "pipeline/run_context.h"

namespace vtissue::stages {
namespace {

constexpr double kReachInPitches =
    0.75;  // over 1/sqrt(2): the farthest that a place within a square array is from a spot
constexpr double kMostTilesBySide = 1e6;

/// µm per unit of the spots' coordinates.
double scale_of_spots(const io::SpotTable& spots, const SpotGridOptions& options, const std::string& name) {
  if (options.spot_mpp) return *options.spot_mpp;
  if (spots.mpp) return *spots.mpp;
  if (spots.pitch_um && spots.pitch_px) return *spots.pitch_um / *spots.pitch_px;
  throw Error(ErrorCode::kBadInput,
              "{}: does not say how many µm a unit of its spots' coordinates is; pass --mpp (of Visium: 100 µm by the "
              "distance of neighbouring spots)",
              name);
}

double pitch_of_spots(const io::SpotTable& spots, const std::string& name) {
  const auto pitch = spots.pitch_px ? spots.pitch_px : io::median_neighbor_distance(spots.x, spots.y);
  if (!pitch || !(*pitch > 0)) {
    throw Error(ErrorCode::kBadInput, "{}: {} spots do not tell their pitch; a grid needs at least two places", name,
                spots.x.size());
  }
  return *pitch;
}

struct Extent {
  double width = 0, height = 0;  ///< of the spots' coordinates, from 0 on
};

Extent extent_of(const io::SpotTable& spots, double pitch) {
  if (spots.image_size) return {double(spots.image_size->width), double(spots.image_size->height)};
  Extent extent;
  for (std::size_t k = 0; k < spots.x.size(); ++k) {
    extent.width = std::max(extent.width, spots.x[k] + pitch);
    extent.height = std::max(extent.height, spots.y[k] + pitch);
  }
  return extent;
}

/// Calls use(column, row) for the squares of `side`, from 0 on and below `columns`, `rows`, whose centre is within
/// `reach` of (x, y).
template <typename Use>
void for_squares_near(double x, double y, double reach, double side, std::int64_t columns, std::int64_t rows,
                      Use&& use) {
  const auto low = [&](double at) {
    return std::max<std::int64_t>(0, static_cast<std::int64_t>(std::ceil((at - reach) / side - 0.5)));
  };
  const auto high = [&](double at, std::int64_t count) {
    return std::min(count - 1, static_cast<std::int64_t>(std::floor((at + reach) / side - 0.5)));
  };
  for (std::int64_t row = low(y); row <= high(y, rows); ++row) {
    for (std::int64_t column = low(x); column <= high(x, columns); ++column) {
      const double dx = (static_cast<double>(column) + 0.5) * side - x,
                   dy = (static_cast<double>(row) + 0.5) * side - y;
      if (dx * dx + dy * dy <= reach * reach) use(column, row);
    }
  }
}

}  // namespace

io::TileSet tiles_from_spots(const io::SpotTable& spots, const SpotGridOptions& options, const std::string& name) {
  const double scale = scale_of_spots(spots, options, name);
  const double pitch = pitch_of_spots(spots, name);
  const double least = std::min(*std::ranges::min_element(spots.x), *std::ranges::min_element(spots.y));
  if (least < 0) {
    throw Error(ErrorCode::kBadInput,
                "{}: a spot lies at {:.4g}, left of or above the picture's corner; shift the coordinates", name, least);
  }
  const Extent extent = extent_of(spots, pitch);
  const double tile = options.size_px * options.mpp / scale;  // side, in the spots' units
  if (!(extent.width / tile < kMostTilesBySide) || !(extent.height / tile < kMostTilesBySide)) {
    throw Error(ErrorCode::kBadInput,
                "{}: spots up to ({:.4g}, {:.4g}) at {} µm a unit would be a slide of {:.0f} mm; check --mpp", name,
                extent.width, extent.height, scale, std::max(extent.width, extent.height) * scale * 1e-3);
  }
  io::TileSet tiles;
  tiles.tile_px = options.size_px;
  tiles.target_mpp = options.mpp;
  tiles.source_mpp = scale;
  tiles.mpp_source = options.spot_mpp ? "--mpp" : spots.mpp ? "spots" : "spot-pitch";
  const auto columns = static_cast<std::int64_t>(std::ceil(extent.width / tile));
  const auto rows = static_cast<std::int64_t>(std::ceil(extent.height / tile));
  // Whole tiles: the outermost spots' surroundings are not cut.
  tiles.slide_size = {static_cast<std::int64_t>(std::ceil(static_cast<double>(columns) * tile)),
                      static_cast<std::int64_t>(std::ceil(static_cast<double>(rows) * tile))};
  tiles.target_size = {columns * options.size_px, rows * options.size_px};
  std::set<TileCell> cells;
  tiles.mask_size = {2 * columns, 2 * rows};
  tiles.mask_mpp = options.size_px * options.mpp / 2;
  tiles.mask.assign(static_cast<std::size_t>(tiles.mask_size.area()), 0);
  const double reach = kReachInPitches * pitch;
  for (std::size_t k = 0; k < spots.x.size(); ++k) {
    for_squares_near(spots.x[k], spots.y[k], reach, tile, columns, rows, [&](std::int64_t column, std::int64_t row) {
      cells.insert({static_cast<std::int32_t>(2 * column), static_cast<std::int32_t>(2 * row)});
    });
    for_squares_near(spots.x[k], spots.y[k], reach, tile / 2, 2 * columns, 2 * rows,
                     [&](std::int64_t column, std::int64_t row) {
                       tiles.mask[static_cast<std::size_t>(row * tiles.mask_size.width + column)] = 1;
                     });
  }
  tiles.cells.assign(cells.begin(), cells.end());
  tiles.tissue_fraction.assign(cells.size(), 1.0f);
  if (cells.empty()) {
    throw Error(ErrorCode::kBadInput,
                "{}: no tile of {:.0f} µm has its centre within {:.0f} µm of a spot; use smaller tiles", name,
                tile * scale, reach * scale);
  }
  return tiles;
}

SpotGridStage::SpotGridStage(SpotGridOptions options, std::vector<std::string> panel)
    : options_(std::move(options)), panel_(std::move(panel)) {}

std::vector<pipeline::Port> SpotGridStage::inputs() const {
  return {{.name = "visium", .optional = true},
          {.name = "h5ad", .optional = true},
          {.name = "st_counts", .optional = true},
          {.name = "st_spots", .optional = true}};
}

std::vector<pipeline::Port> SpotGridStage::outputs() const { return {{.name = "tiles"}, {.name = "features"}}; }

nlohmann::json SpotGridStage::identity() const {
  nlohmann::json identity = {{"size_px", options_.size_px},
                             {"mpp", options_.mpp},
                             {"slide_mpp", nullptr},
                             {"bin_um", options_.measured.bin_um},
                             {"reference", "none"},
                             {"grid", "spots"},
                             {"encoder_sha256", options_.encoder_sha256},
                             {"morphology_dim", options_.morphology_dim}};
  if (options_.spot_mpp) identity["slide_mpp"] = *options_.spot_mpp;
  return identity;
}

void SpotGridStage::preflight(const pipeline::Bindings& available_inputs) const {
  const SpotFiles files = SpotFiles::of(available_inputs);
  files.require_one();
  tiles_from_spots(read_measurement(files, panel_, options_.measured).spots, options_, files.name().string());
}

std::optional<std::vector<std::filesystem::path>> SpotGridStage::files_read(std::string_view port,
                                                                            const std::filesystem::path& folder) const {
  if (port != "visium") return std::nullopt;
  return io::visium_files(folder, options_.measured.bin_um);
}

void SpotGridStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                        pipeline::RunContext& ctx) const {
  const SpotFiles files = SpotFiles::of(inputs);
  files.require_one();
  ctx.set_total(1, "table");
  const Measurement measurement = read_measurement(files, panel_, options_.measured);
  io::TileSet tiles = tiles_from_spots(measurement.spots, options_, files.name().string());
  tiles.settings = identity().dump();
  io::write_tiles(outputs.at("tiles"), tiles);

  io::FeatureWriter writer(outputs.at("features"), tiles.cells, tiles.slide_sha256, R"({"reference":"none"})");
  writer.begin_set({.name = "morphology",
                    .encoder = options_.encoder,
                    .encoder_sha256 = options_.encoder_sha256,
                    .geometry = "no picture",
                    .vectors = 1,
                    .dim = options_.morphology_dim});
  const std::vector<float> nothing(static_cast<std::size_t>(options_.morphology_dim));
  const std::vector<std::uint8_t> invalid(1, 0);
  for (std::size_t k = 0; k < tiles.cells.size(); ++k) writer.append(nothing, invalid);
  writer.finish();
  ctx.report("tiles", tiles.cells.size());
  ctx.report("spots", measurement.spots.x.size());
  ctx.report("spot_mpp", tiles.source_mpp);
  ctx.report("spot_mpp_source", tiles.mpp_source);
  ctx.advance();
}

}  // namespace vtissue::stages
