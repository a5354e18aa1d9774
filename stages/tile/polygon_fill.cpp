#include "stages/tile/polygon_fill.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace vtissue::stages {
namespace {

struct Edge {
  double x0, y0, x1, y1;  ///< y0 < y1
  int direction;
};

struct Crossing {
  double x;
  int direction;
};

/// A box of the mask with the rows and columns that a ring can reach.
struct FillBox {
  std::int64_t left, top, right, bottom;  // half-open
  bool empty() const { return left >= right || top >= bottom; }
  std::int64_t width() const { return right - left; }
};

/// The first pixel whose centre is not left of (above) `position`, within [low, high].
std::int64_t first_centre(double position, std::int64_t low, std::int64_t high) {
  return static_cast<std::int64_t>(
      std::clamp(std::ceil(position - 0.5), static_cast<double>(low), static_cast<double>(high)));
}

/// Writes `value` to the pixels of `bits` (the box' own) inside the ring. True if the ring winds twice around one.
bool fill_ring(const io::GeoRing& ring, const MaskFrame& frame, const FillBox& box, std::vector<std::uint8_t>& bits,
               std::uint8_t value) {
  std::vector<Edge> edges;
  edges.reserve(ring.size());
  for (std::size_t i = 0; i < ring.size(); ++i) {
    const io::GeoPoint& a = ring[i];
    const io::GeoPoint& b = ring[(i + 1) % ring.size()];
    Edge edge{(a.x - frame.origin_x) / frame.downsample, (a.y - frame.origin_y) / frame.downsample,
              (b.x - frame.origin_x) / frame.downsample, (b.y - frame.origin_y) / frame.downsample, 1};
    if (edge.y0 > edge.y1) {
      std::swap(edge.x0, edge.x1);
      std::swap(edge.y0, edge.y1);
      edge.direction = -1;
    }
    // A row's centre line crosses [y0, y1): a corner on it counts once.
    if (first_centre(edge.y0, box.top, box.bottom) < first_centre(edge.y1, box.top, box.bottom)) edges.push_back(edge);
  }
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.y0 < b.y0; });

  bool twice = false;
  std::vector<std::size_t> active;
  std::vector<Crossing> crossings;
  std::size_t next = 0;
  for (std::int64_t row = box.top; row < box.bottom; ++row) {
    const double y = static_cast<double>(row) + 0.5;
    while (next < edges.size() && edges[next].y0 <= y) active.push_back(next++);
    std::erase_if(active, [&](std::size_t i) { return edges[i].y1 <= y; });
    crossings.clear();
    for (const std::size_t i : active) {
      const Edge& e = edges[i];
      crossings.push_back({e.x0 + (e.x1 - e.x0) * ((y - e.y0) / (e.y1 - e.y0)), e.direction});
    }
    std::sort(crossings.begin(), crossings.end(), [](const Crossing& a, const Crossing& b) { return a.x < b.x; });
    int winding = 0;
    for (std::size_t i = 0; i + 1 < crossings.size(); ++i) {
      winding += crossings[i].direction;
      if (winding == 0) continue;
      const std::int64_t from = first_centre(crossings[i].x, box.left, box.right);
      const std::int64_t to = first_centre(crossings[i + 1].x, box.left, box.right);
      if (from >= to) continue;
      twice = twice || std::abs(winding) > 1;
      std::fill_n(&bits[static_cast<std::size_t>((row - box.top) * box.width() + from - box.left)], to - from, value);
    }
  }
  return twice;
}

FillBox box_of(const io::GeoRing& ring, const MaskFrame& frame, Size<LevelPx> size) {
  double left = std::numeric_limits<double>::max(), top = left, right = -left, bottom = -left;
  for (const io::GeoPoint& point : ring) {
    left = std::min(left, point.x), right = std::max(right, point.x);
    top = std::min(top, point.y), bottom = std::max(bottom, point.y);
  }
  return {first_centre((left - frame.origin_x) / frame.downsample, 0, size.width),
          first_centre((top - frame.origin_y) / frame.downsample, 0, size.height),
          first_centre((right - frame.origin_x) / frame.downsample, 0, size.width),
          first_centre((bottom - frame.origin_y) / frame.downsample, 0, size.height)};
}

}  // namespace

FillResult fill_polygon(BinaryImage& mask, const io::GeoPolygon& polygon, const MaskFrame& frame) {
  FillResult result;
  if (polygon.empty()) return result;
  const FillBox box = box_of(polygon.front(), frame, mask.size);
  if (box.empty()) return result;
  std::vector<std::uint8_t> bits(static_cast<std::size_t>(box.width() * (box.bottom - box.top)));
  for (std::size_t ring = 0; ring < polygon.size(); ++ring) {
    result.self_crossing |= fill_ring(polygon[ring], frame, box, bits, ring == 0);
  }
  for (std::int64_t row = box.top; row < box.bottom; ++row) {
    const std::uint8_t* from = &bits[static_cast<std::size_t>((row - box.top) * box.width())];
    std::uint8_t* to = &mask.pixels[static_cast<std::size_t>(row * mask.size.width + box.left)];
    for (std::int64_t x = 0; x < box.width(); ++x) {
      result.pixels += from[x];
      to[x] |= from[x];
    }
  }
  return result;
}

}  // namespace vtissue::stages
