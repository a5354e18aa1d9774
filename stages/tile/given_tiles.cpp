#include "stages/tile/given_tiles.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "core/error.h"

namespace vtissue::stages {
namespace {

constexpr double kLargestMismatch = 0.1;  // of a patch's side
constexpr double kRounding = 0.5 + 1e-6;  // level-0 pixels that the tools' coordinates are rounded by

using Corners = std::vector<Point<Level0Px>>;

struct Placement {
  std::vector<TileCell> cells;  // in the file's order
  double largest_shift = 0;
};

/// Every corner's nearest cell of a lattice; `scale` level-0 pixels per target pixel.
Placement place(const Corners& corners, double scale, Point<TargetPx> offset, double cell_px) {
  Placement result;
  result.cells.reserve(corners.size());
  const auto nearest = [&](std::int64_t level0, std::int64_t from) {
    const double cell = std::round((static_cast<double>(level0) / scale - static_cast<double>(from)) / cell_px);
    const double shift = std::abs((static_cast<double>(from) + cell * cell_px) * scale - static_cast<double>(level0));
    result.largest_shift = std::max(result.largest_shift, shift);
    return static_cast<std::int32_t>(cell);
  };
  for (const auto& corner : corners) result.cells.push_back({nearest(corner.x, offset.x), nearest(corner.y, offset.y)});
  return result;
}

/// Whether all columns have one parity, and all rows.
bool touch_at_most(const std::vector<TileCell>& cells) {
  return std::ranges::all_of(cells, [&](TileCell cell) {
    return ((cell.column ^ cells.front().column) & 1) == 0 && ((cell.row ^ cells.front().row) & 1) == 0;
  });
}

/// Smallest step between the places along an axis; nothing if there is only one.
std::optional<std::int64_t> smallest_step(std::vector<std::int64_t> places) {
  std::ranges::sort(places);
  places.erase(std::unique(places.begin(), places.end()), places.end());
  std::optional<std::int64_t> step;
  for (std::size_t i = 1; i < places.size(); ++i) {
    const std::int64_t here = places[i] - places[i - 1];
    if (!step || here < *step) step = here;
  }
  return step;
}

/// Level-0 pixels from a patch to the next, as stated, else as the places have it.
double stride_of(const io::PatchCoordinates& given) {
  if (given.stride_px) return *given.stride_px;
  std::vector<std::int64_t> x, y;
  for (const auto& corner : given.corners) x.push_back(corner.x), y.push_back(corner.y);
  double stride = given.side_px;
  for (const auto& step : {smallest_step(std::move(x)), smallest_step(std::move(y))}) {
    if (step) stride = std::min(stride, static_cast<double>(*step));
  }
  return stride;
}

Point<TargetPx> first_place(const Corners& corners, double scale) {
  const auto least = [&](auto axis) {
    return std::llround(static_cast<double>(std::ranges::min(corners, {}, axis).*axis) / scale);
  };
  return {least(&Point<Level0Px>::x), least(&Point<Level0Px>::y)};
}

void require_on_slide(const io::PatchCoordinates& given, Size<Level0Px> slide, const std::filesystem::path& path) {
  if (given.slide_size && *given.slide_size != slide) {
    throw Error(ErrorCode::kBadInput,
                "{}: made for a slide of {} x {} pixels, this one has {} x {}; name that slide's coordinates",
                path.string(), given.slide_size->width, given.slide_size->height, slide.width, slide.height);
  }
  for (std::size_t row = 0; row < given.corners.size(); ++row) {
    const auto& at = given.corners[row];
    if (at.x < slide.width && at.y<slide.height&& static_cast<double>(at.x) + given.side_px> 0 &&
        static_cast<double>(at.y) + given.side_px > 0) {
      continue;
    }
    throw Error(ErrorCode::kBadInput,
                "{}: patch {} at ({}, {}) of {} px lies beside the slide of {} x {}; name that slide's coordinates, in "
                "level-0 pixels",
                path.string(), row, at.x, at.y, given.side_px, slide.width, slide.height);
  }
}

}  // namespace

GivenTiles place_given_tiles(const io::PatchCoordinates& given, Size<Level0Px> slide, double source_mpp, int tile_px,
                             double wanted_mpp, const std::filesystem::path& path) {
  require_on_slide(given, slide, path);
  const double scale = given.side_px / tile_px;
  GivenTiles result;
  result.target_mpp = source_mpp * scale;
  if (!(std::abs(result.target_mpp / wanted_mpp - 1) <= kLargestMismatch)) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: its patches are {:.1f} µm wide ({} level-0 pixels of {} µm), tile.size_px = {} at tile.mpp = {} is "
        "{:.1f} µm; set tile.mpp = {:.4g}, or another tile.size_px",
        path.string(), given.side_px * source_mpp, given.side_px, source_mpp, tile_px, wanted_mpp, tile_px * wanted_mpp,
        result.target_mpp);
  }

  // Tiles at exactly the µm/px wanted whose side and places were rounded: what this program writes.
  const double exact = wanted_mpp / source_mpp;
  Placement placement = place(given.corners, exact, {0, 0}, tile_px / 2.0);
  if (std::abs(tile_px * exact - given.side_px) <= given.side_rounding_px + 1e-6 &&
      placement.largest_shift <= kRounding && touch_at_most(placement.cells)) {
    result.target_mpp = wanted_mpp;
  } else {
    placement = place(given.corners, scale, {0, 0}, tile_px / 2.0);
  }
  if (placement.largest_shift > kRounding || !touch_at_most(placement.cells)) {
    const auto stride = static_cast<int>(std::llround(stride_of(given) / scale));
    const Point<TargetPx> first = first_place(given.corners, scale);
    io::TileLattice lattice{.stride_px = std::max(1, stride), .cell_px = stride / 2, .offset = first};
    const bool even = stride >= 2 && stride % 2 == 0;
    if (even) placement = place(given.corners, scale, first, lattice.cell_px);
    // The offset is rounded to a target pixel, the places to a level-0 pixel.
    if (!even || placement.largest_shift > kRounding + scale / 2 || !touch_at_most(placement.cells)) {
      lattice = {.stride_px = given.stride_px ? std::max(1, stride) : tile_px, .cell_px = 1, .offset = {0, 0}};
      placement = place(given.corners, scale, {0, 0}, 1);
    }
    result.lattice = lattice;
  }
  result.largest_shift_px = placement.largest_shift;
  result.cells = std::move(placement.cells);
  std::ranges::sort(result.cells);
  if (const auto twice = std::ranges::adjacent_find(result.cells); twice != result.cells.end()) {
    throw Error(ErrorCode::kBadInput, "{}: two patches lie at one place, about ({:.0f}, {:.0f})", path.string(),
                static_cast<double>(twice->column) * scale * (result.lattice ? result.lattice->cell_px : tile_px / 2),
                static_cast<double>(twice->row) * scale * (result.lattice ? result.lattice->cell_px : tile_px / 2));
  }
  return result;
}

std::vector<std::size_t> rows_of_tiles(std::span<const Point<Level0Px>> corners, const io::TileSet& tiles,
                                       const std::filesystem::path& path) {
  // Places that were rounded twice: to the tiles' lattice and to level-0 pixels.
  const double reach = std::max(1.0, tiles.scale());
  std::map<std::pair<std::int64_t, std::int64_t>, std::size_t> at;  // (x, y)
  for (std::size_t row = 0; row < corners.size(); ++row) at.emplace(std::pair(corners[row].x, corners[row].y), row);
  std::vector<std::size_t> rows;
  std::size_t missing = 0;
  std::optional<Point<Level0Px>> first_missing;
  const auto step = static_cast<std::int64_t>(std::floor(reach));
  for (const TileCell cell : tiles.cells) {
    const Point<Level0Px> place = tiles.level0_origin(cell);
    std::optional<std::size_t> found;
    std::int64_t best = 0;
    for (std::int64_t dy = -step; dy <= step; ++dy) {
      for (std::int64_t dx = -step; dx <= step; ++dx) {
        const auto here = at.find({place.x + dx, place.y + dy});
        const std::int64_t distance = dx * dx + dy * dy;
        if (here != at.end() && (!found || distance < best)) found = here->second, best = distance;
      }
    }
    if (!found) {
      ++missing;
      if (!first_missing) first_missing = place;
      continue;
    }
    rows.push_back(*found);
  }
  if (missing != 0) {
    throw Error(ErrorCode::kBadInput,
                "{}: has no features for {} of {} tiles, the first of them at ({}, {}) level-0 pixels; make the tiles "
                "from its coordinates (tile.coordinates)",
                path.string(), missing, tiles.cells.size(), first_missing->x, first_missing->y);
  }
  return rows;
}

}  // namespace vtissue::stages
