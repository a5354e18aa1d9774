#include "stages/tile/tissue_contours.h"

#include <array>

#include "stages/tile/components.h"

namespace vtissue::stages {
namespace {

// Directions along pixels' edges: right, down, left, up. A piece's pixels lie to the right of the way, so that an
// outline runs clockwise on the screen and a hole the other way round.
constexpr std::array<int, 4> kDx = {1, 0, -1, 0};
constexpr std::array<int, 4> kDy = {0, 1, 0, -1};

class EdgeTracer {
 public:
  EdgeTracer(const Components& parts, Size<LevelPx> size)
      : parts_(parts), size_(size), passed_(static_cast<std::size_t>(size.area())) {}

  /// True where the upper edge of the pixel begins a ring that was not traced: the pixel is of a piece, the one above
  /// is not of the same.
  bool starts(std::int64_t x, std::int64_t y) const {
    return label(x, y) >= 0 && label(x, y - 1) != label(x, y) && !passed_[index(x, y)];
  }

  /// The ring that passes the upper edge of pixel (x, y) from left to right.
  io::GeoRing trace(std::int64_t x, std::int64_t y) {
    const std::int32_t piece = label(x, y);
    io::GeoRing ring;
    const std::int64_t start_x = x, start_y = y;  // corners
    int direction = 0;
    do {
      if (direction == 0) passed_[index(x, y)] = 1;
      const std::int64_t next_x = x + kDx[static_cast<std::size_t>(direction)];
      const std::int64_t next_y = y + kDy[static_cast<std::size_t>(direction)];
      x = next_x, y = next_y;
      // Of the pixels ahead: without the right one the way turns right, also where the left one is there (pixels that
      // meet at a corner alone are not connected); with both it turns left.
      const int turn = !inside(piece, x, y, direction, true) ? 1 : inside(piece, x, y, direction, false) ? -1 : 0;
      if (turn != 0) ring.push_back({static_cast<double>(x), static_cast<double>(y)});
      direction = (direction + turn + 4) % 4;
    } while (x != start_x || y != start_y || direction != 0);
    return ring;
  }

 private:
  std::size_t index(std::int64_t x, std::int64_t y) const { return static_cast<std::size_t>(y * size_.width + x); }
  std::int32_t label(std::int64_t x, std::int64_t y) const {
    if (x < 0 || y < 0 || x >= size_.width || y >= size_.height) return -1;
    return parts_.labels[index(x, y)];
  }
  /// Of the two pixels beyond the corner (x, y) seen along `direction`, the right or the left one.
  bool inside(std::int32_t piece, std::int64_t x, std::int64_t y, int direction, bool right) const {
    // right of the way: right → (x, y), down → (x - 1, y), left → (x - 1, y - 1), up → (x, y - 1)
    static constexpr std::array<int, 4> kRightX = {0, -1, -1, 0}, kRightY = {0, 0, -1, -1};
    static constexpr std::array<int, 4> kLeftX = {0, 0, -1, -1}, kLeftY = {-1, 0, 0, -1};
    const auto d = static_cast<std::size_t>(direction);
    return right ? label(x + kRightX[d], y + kRightY[d]) == piece : label(x + kLeftX[d], y + kLeftY[d]) == piece;
  }

  const Components& parts_;
  Size<LevelPx> size_;
  std::vector<std::uint8_t> passed_;  ///< upper edges
};

}  // namespace

std::vector<io::GeoPolygon> tissue_contours(const BinaryImage& mask) {
  const Components parts = find_components(mask, 1, false);
  EdgeTracer tracer(parts, mask.size);
  std::vector<io::GeoPolygon> pieces(parts.pixels.size());
  // A piece's first pixel in reading order lies on its outline, so that the outline comes before the holes.
  for (std::int64_t y = 0; y < mask.size.height; ++y) {
    for (std::int64_t x = 0; x < mask.size.width; ++x) {
      if (!tracer.starts(x, y)) continue;
      const auto piece = static_cast<std::size_t>(parts.labels[static_cast<std::size_t>(y * mask.size.width + x)]);
      pieces[piece].push_back(tracer.trace(x, y));
    }
  }
  return pieces;
}

}  // namespace vtissue::stages
