#include "stages/synthesize/canvas_scope.h"

#include <algorithm>
#include <set>
#include <utility>

namespace vtissue::stages {
namespace {

using Squares = std::vector<Point<Latent>>;

std::pair<std::int64_t, std::int64_t> reading_order(Point<Latent> p) { return {p.y, p.x}; }

Squares sorted_unique(Squares squares) {
  std::ranges::sort(squares, {}, reading_order);
  squares.erase(std::unique(squares.begin(), squares.end()), squares.end());
  return squares;
}

/// The windows of a step that meet any of the squares.
Squares windows_that_meet(const WindowLayout& layout, int step, const Squares& squares) {
  Squares windows;
  for (const Point<Latent> square : squares) {
    const Squares over = layout.windows_over(square, step);
    windows.insert(windows.end(), over.begin(), over.end());
  }
  windows = sorted_unique(std::move(windows));
  const Squares all = layout.windows(step);  // of the others no tile is under them
  std::erase_if(windows,
                [&](Point<Latent> w) { return !std::ranges::binary_search(all, reading_order(w), {}, reading_order); });
  return windows;
}

Squares places_of(std::span<const TileCell> cells, const std::set<std::size_t>& tiles, int size) {
  Squares places;
  for (const std::size_t tile : tiles) places.push_back(latent_origin(cells[tile], size));
  return places;
}

std::size_t count_tiles(const CanvasScope& scope, std::span<const TileCell> cells, int size) {
  std::set<std::size_t> tiles;
  for (const Squares& squares : scope.squares) {
    for (const Point<Latent> square : squares) {
      for (const std::size_t tile : tiles_under(cells, size, square)) tiles.insert(tile);
    }
  }
  return tiles.size();
}

CanvasScope make_scope(const WindowLayout& layout, std::span<const models::Evaluation> evaluations,
                       std::span<const TileCell> cells, std::span<const std::size_t> wanted, bool with_dependences) {
  const std::set<std::size_t> tiles(wanted.begin(), wanted.end());
  const Squares own = places_of(cells, tiles, layout.size());
  CanvasScope scope;
  Squares read_next;  // what the evaluation after reads of the state
  for (std::size_t e = evaluations.size(); e-- > 0;) {
    const int step = evaluations[e].step;
    Squares needed = own;
    if (with_dependences) needed.insert(needed.end(), read_next.begin(), read_next.end());
    if (layout.blended(step)) {
      std::set<std::size_t> updated;
      for (const Point<Latent> square : needed) {
        for (const std::size_t tile : tiles_under(cells, layout.size(), square)) updated.insert(tile);
      }
      needed = places_of(cells, updated, layout.size());
      scope.squares.push_back(needed);  // in reverse: after its windows
    }
    read_next = windows_that_meet(layout, step, needed);
    scope.squares.push_back(read_next);
  }
  std::ranges::reverse(scope.squares);
  scope.tiles = count_tiles(scope, cells, layout.size());
  return scope;
}

}  // namespace

CanvasScope confined_scope(const WindowLayout& layout, std::span<const models::Evaluation> evaluations,
                           std::span<const TileCell> cells, std::span<const std::size_t> wanted) {
  return make_scope(layout, evaluations, cells, wanted, false);
}

CanvasScope dependence_scope(const WindowLayout& layout, std::span<const models::Evaluation> evaluations,
                             std::span<const TileCell> cells, std::span<const std::size_t> wanted) {
  return make_scope(layout, evaluations, cells, wanted, true);
}

std::vector<std::size_t> tiles_under(std::span<const TileCell> cells, int size, Point<Latent> origin) {
  std::vector<std::size_t> result;
  const std::int64_t column = floor_div(origin.x, size), row = floor_div(origin.y, size);
  const int right = origin.x == column * size ? 0 : 1, down = origin.y == row * size ? 0 : 1;
  for (int y = 0; y <= down; ++y) {
    for (int x = 0; x <= right; ++x) {
      const TileCell cell{static_cast<std::int32_t>(2 * (column + x)), static_cast<std::int32_t>(2 * (row + y))};
      const auto found = std::ranges::lower_bound(cells, cell);
      if (found != cells.end() && *found == cell) result.push_back(static_cast<std::size_t>(found - cells.begin()));
    }
  }
  return result;
}

std::vector<std::size_t> ring_around(std::span<const TileCell> cells, std::span<const std::size_t> chosen) {
  std::set<std::size_t> ring;
  for (const std::size_t tile : chosen) {
    for (int dy = -2; dy <= 2; dy += 2) {
      for (int dx = -2; dx <= 2; dx += 2) {
        const TileCell cell{cells[tile].column + dx, cells[tile].row + dy};
        const auto found = std::ranges::lower_bound(cells, cell);
        if (found == cells.end() || *found != cell) continue;
        const auto index = static_cast<std::size_t>(found - cells.begin());
        if (!std::ranges::binary_search(chosen, index)) ring.insert(index);
      }
    }
  }
  return {ring.begin(), ring.end()};
}

}  // namespace vtissue::stages
