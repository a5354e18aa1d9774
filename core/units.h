#pragma once

#include <compare>
#include <cstdint>

namespace vtissue {

// Coordinate systems. A Point or Size of one unit cannot be added to one of another.
struct Level0Px;  ///< pixels of the source slide's level 0
struct LevelPx;   ///< pixels of some level of a pyramid, named by the caller
struct TargetPx;  ///< pixels of the virtual slide's level 0 (the target µm/px)
struct HalfTile;  ///< tile cells: half tiles at the target µm/px (DESIGN 4)
struct Latent;    ///< latent positions on the slide-wide canvas

/// (x, y) = (column, row), always in this order.
template <typename Unit>
struct Point {
  std::int64_t x = 0;
  std::int64_t y = 0;
  auto operator<=>(const Point&) const = default;
  Point operator+(const Point& other) const { return {x + other.x, y + other.y}; }
  Point operator-(const Point& other) const { return {x - other.x, y - other.y}; }
};

template <typename Unit>
struct Size {
  std::int64_t width = 0;
  std::int64_t height = 0;
  bool operator==(const Size&) const = default;
  std::int64_t area() const { return width * height; }
  bool empty() const { return width <= 0 || height <= 0; }
};

/// Half-open box [origin, origin + size).
template <typename Unit>
struct Box {
  Point<Unit> origin;
  Size<Unit> size;
  bool operator==(const Box&) const = default;
  bool contains(Point<Unit> p) const {
    return p.x >= origin.x && p.y >= origin.y && p.x < origin.x + size.width && p.y < origin.y + size.height;
  }
};

/// a / b, rounded down; b > 0.
constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

/// A tile's identity: column and row in half tiles at the target µm/px; the base grid has even
/// numbers only. Ordered by row, then column, which is the canonical order of every store.
struct TileCell {
  std::int32_t column = 0;
  std::int32_t row = 0;
  bool operator==(const TileCell&) const = default;
  std::strong_ordering operator<=>(const TileCell& other) const {
    if (auto by_row = row <=> other.row; by_row != 0) return by_row;
    return column <=> other.column;
  }
};

}  // namespace vtissue
