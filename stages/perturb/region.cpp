#include "stages/perturb/region.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "stages/synthesize/canvas_scope.h"

namespace vtissue::stages {
namespace {

/// Numbers separated by commas; nothing if it is anything else.
std::optional<std::vector<double>> comma_numbers(std::string_view text) {
  std::vector<double> numbers;
  const char *at = text.data(), *const end = text.data() + text.size();
  while (true) {
    double value = 0;
    const auto [rest, problem] = std::from_chars(at, end, value);
    if (problem != std::errc() || !std::isfinite(value)) return std::nullopt;
    numbers.push_back(value);
    if (rest == end) return numbers;
    if (*rest != ',') return std::nullopt;
    at = rest + 1;
  }
}

}  // namespace

RegionPolygons RegionPolygons::read(const std::filesystem::path& path, bool may_be_empty) {
  RegionPolygons region;
  io::read_geojson(
      path, [&](io::GeoObject&& object) { std::ranges::move(object.polygons, std::back_inserter(region.polygons_)); });
  if (region.polygons_.empty() && !may_be_empty) {
    throw Error(ErrorCode::kBadInput, "{}: no polygon in it; export the region as GeoJSON polygons", path.string());
  }
  return region;
}

bool RegionPolygons::contains(double x, double y) const {
  return std::ranges::any_of(polygons_, [&](const io::GeoPolygon& polygon) {
    bool inside = false;
    for (const io::GeoRing& ring : polygon) {
      for (std::size_t i = 0, j = ring.size() - 1; i < ring.size(); j = i++) {
        const io::GeoPoint a = ring[i], b = ring[j];
        if ((a.y > y) != (b.y > y) && x < (b.x - a.x) * (y - a.y) / (b.y - a.y) + a.x) inside = !inside;
      }
    }
    return inside;
  });
}

nlohmann::json RegionOptions::to_json() const {
  nlohmann::json json = {
      {"of", of_virtual ? "virtual" : "slide"}, {"tiles", nlohmann::json::array()}, {"box", nullptr}};
  for (const TileCell cell : cells) json["tiles"].push_back({cell.column, cell.row});
  if (box) json["box"] = *box;
  return json;
}

std::optional<std::array<double, 4>> parse_region_box(std::string_view text) {
  const auto numbers = comma_numbers(text);
  if (!numbers || numbers->size() != 4) return std::nullopt;
  if (!((*numbers)[2] > 0) || !((*numbers)[3] > 0)) {
    throw Error(ErrorCode::kUsage, "region {}: width and height must be more than 0", text);
  }
  return std::array<double, 4>{(*numbers)[0], (*numbers)[1], (*numbers)[2], (*numbers)[3]};
}

TileCell parse_tile(std::string_view text) {
  const auto numbers = comma_numbers(text);
  const auto whole = [](double v) { return v == std::floor(v) && v >= 0 && v < 2e9; };
  if (!numbers || numbers->size() != 2 || !whole((*numbers)[0]) || !whole((*numbers)[1])) {
    throw Error(ErrorCode::kUsage,
                "tile '{}': expected column,row in half tiles, as expression.h5ad and tables have them: 12,8", text);
  }
  return {static_cast<std::int32_t>((*numbers)[0]), static_cast<std::int32_t>((*numbers)[1])};
}

std::vector<std::size_t> region_tiles(const io::TileSet& tiles, const RegionOptions& options,
                                      const std::optional<std::filesystem::path>& geojson) {
  std::optional<RegionPolygons> polygons;
  if (geojson) polygons = RegionPolygons::read(*geojson, options.may_be_empty);
  for (const TileCell cell : options.cells) {
    if (std::ranges::binary_search(tiles.cells, cell)) continue;
    throw Error(ErrorCode::kBadInput, "tile {},{} is none of the slide's {} tiles; columns and rows count half tiles",
                cell.column, cell.row, tiles.cells.size());
  }
  const double scale = options.of_virtual ? 1 : tiles.target_mpp / tiles.source_mpp;
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < tiles.cells.size(); ++i) {
    const TileCell cell = tiles.cells[i];
    const Point<TargetPx> origin = tiles.origin(cell);
    const double x = (static_cast<double>(origin.x) + tiles.tile_px / 2.0) * scale;
    const double y = (static_cast<double>(origin.y) + tiles.tile_px / 2.0) * scale;
    if (!options.cells.empty() && std::ranges::find(options.cells, cell) == options.cells.end()) continue;
    if (options.box) {
      const auto [left, top, width, height] = *options.box;
      if (x < left || y < top || x >= left + width || y >= top + height) continue;
    }
    if (polygons && !polygons->contains(x, y)) continue;
    chosen.push_back(i);
  }
  if (chosen.empty() && !options.may_be_empty) {
    throw Error(ErrorCode::kBadInput,
                "no tile of the slide has its centre in the region; coordinates are pixels of level 0 of the {} slide "
                "({} x {}), "
                "see --region-of",
                options.of_virtual ? "virtual" : "real",
                options.of_virtual ? tiles.target_size.width : tiles.slide_size.width,
                options.of_virtual ? tiles.target_size.height : tiles.slide_size.height);
  }
  return chosen;
}

std::vector<std::size_t> RegionExtent::seen() const {
  std::vector<std::size_t> tiles;
  std::ranges::merge(drawn, rim, std::back_inserter(tiles));
  return tiles;
}

RegionExtent region_extent(const io::TileSet& tiles, const RegionOptions& options,
                           const std::optional<std::filesystem::path>& geojson) {
  for (const TileCell cell : tiles.cells) {
    if (cell.column % 2 == 0 && cell.row % 2 == 0) continue;
    throw Error(ErrorCode::kUsage,
                "tile ({}, {}) lies between those of the base grid; a perturbation takes tiles side by side",
                cell.column, cell.row);
  }
  RegionExtent extent{.region = region_tiles(tiles, options, geojson)};
  const std::vector<std::size_t> ring = ring_around(tiles.cells, extent.region);
  std::ranges::merge(extent.region, ring, std::back_inserter(extent.drawn));
  extent.rim = ring_around(tiles.cells, extent.drawn);
  return extent;
}

}  // namespace vtissue::stages
