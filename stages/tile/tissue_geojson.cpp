#include "stages/tile/tissue_geojson.h"

#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <iterator>

#include "stages/tile/tissue_contours.h"

namespace vtissue::stages {
namespace {

/// QuPath's own green for tissue would hide on H&E; this one does not.
constexpr const char* kProperties =
    R"("properties":{"objectType":"annotation","classification":{"name":"Tissue","color":[0,160,80]}})";

}  // namespace

std::string tissue_geojson(const io::TileSet& tiles, Point<Level0Px> origin) {
  const double downsample = tiles.mask_mpp / tiles.source_mpp;
  const auto put = [&](std::string& text, const io::GeoPoint& point) {
    const auto level0 = [&](double mask_px, std::int64_t from) {
      return std::round((mask_px * downsample - static_cast<double>(from)) * 100) / 100;
    };
    fmt::format_to(std::back_inserter(text), "[{},{}]", level0(point.x, origin.x), level0(point.y, origin.y));
  };
  std::string text = R"({"type":"FeatureCollection","features":[)";
  bool first_piece = true;
  for (const io::GeoPolygon& piece : tissue_contours({tiles.mask_size, tiles.mask})) {
    text += first_piece ? "\n" : ",\n";
    first_piece = false;
    text += R"({"type":"Feature","geometry":{"type":"Polygon","coordinates":[)";
    for (std::size_t ring = 0; ring < piece.size(); ++ring) {
      text += ring > 0 ? ",[" : "[";
      for (const io::GeoPoint& point : piece[ring]) {
        put(text, point);
        text += ',';
      }
      put(text, piece[ring].front());
      text += ']';
    }
    text += "]},";
    text += kProperties;
    text += '}';
  }
  return text + "\n]}\n";
}

}  // namespace vtissue::stages
