// Laws of tile grids: what they cover, how often, and where their neighbours lie.

#include "stages/tile/tile_grid.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "io/tile_store.h"

namespace vtissue::stages {
namespace {

/// Width, height, side of a tile, overlap, shifted.
using GridCase = std::tuple<int, int, int, int, bool>;

class GridLaws : public testing::TestWithParam<GridCase> {
 protected:
  GridLaws() {
    const auto [width, height, tile, overlap, shifted] = GetParam();
    grid_ = {
        .target_size = {width, height}, .scale = 1.4, .tile_px = tile, .overlap_px = overlap, .half_shift = shifted};
    // A mask pixel a target pixel, all of it tissue.
    mask_.assign(static_cast<std::size_t>(width) * height, 1);
  }

  GridTiles tiles() const {
    return choose_tiles(grid_, mask_, {grid_.target_size.width, grid_.target_size.height}, 1.4);
  }

  /// Where a store of these tiles has a cell's corner.
  Point<TargetPx> origin(TileCell cell) const {
    io::TileSet set;
    set.tile_px = grid_.tile_px;
    if (grid_.overlap_px != 0) set.lattice = io::TileLattice{grid_.stride_px(), grid_.stride_px() / 2, {}};
    return set.origin(cell);
  }

  /// How many tiles each pixel of the slide is in.
  std::vector<int> covered(const std::vector<TileCell>& cells) const {
    const auto [width, height] = grid_.target_size;
    std::vector<int> times(static_cast<std::size_t>(width * height));
    for (const TileCell cell : cells) {
      const Point<TargetPx> at = origin(cell);
      for (std::int64_t y = std::max<std::int64_t>(0, at.y); y < std::min(height, at.y + grid_.tile_px); ++y) {
        for (std::int64_t x = std::max<std::int64_t>(0, at.x); x < std::min(width, at.x + grid_.tile_px); ++x) {
          ++times[static_cast<std::size_t>(y * width + x)];
        }
      }
    }
    return times;
  }

  TileGrid grid_;
  std::vector<std::uint8_t> mask_;
};

TEST_P(GridLaws, EveryPixelIsInATileAndWithoutOverlapInExactlyOne) {
  const GridTiles chosen = tiles();
  const std::vector<int> times = covered(chosen.cells);
  EXPECT_EQ(std::ranges::count(times, 0), 0);
  if (grid_.overlap_px == 0) {
    EXPECT_EQ(std::ranges::count(times, 1), static_cast<std::ptrdiff_t>(times.size()));
  }
  EXPECT_TRUE(std::ranges::is_sorted(chosen.cells));
}

TEST_P(GridLaws, NoTileIsNeedless) {
  // Without any column the last pixels of the slide would be in no tile: none lies whole beside it or under another.
  for (const std::int64_t extent : {grid_.target_size.width, grid_.target_size.height}) {
    const std::vector<std::int32_t> cells = grid_.cells_over(extent);
    const auto begin = [&](std::int32_t cell) { return std::int64_t{cell} * grid_.stride_px() / 2; };
    EXPECT_LE(begin(cells.front()), 0);
    EXPECT_LT(begin(cells.back()), extent);
    EXPECT_GE(begin(cells.back()) + grid_.tile_px, extent);
    if (cells.size() > 1) {
      EXPECT_LT(begin(cells[cells.size() - 2]) + grid_.tile_px, extent);
    }
  }
}

TEST_P(GridLaws, NeighboursShareTheOverlap) {
  const GridTiles chosen = tiles();
  for (std::size_t i = 1; i < chosen.cells.size(); ++i) {
    if (chosen.cells[i].row != chosen.cells[i - 1].row) continue;
    EXPECT_EQ(origin(chosen.cells[i]).x - origin(chosen.cells[i - 1]).x, grid_.tile_px - grid_.overlap_px);
    EXPECT_EQ(chosen.cells[i].column & 1, grid_.half_shift ? 1 : 0);
  }
}

TEST_P(GridLaws, SharesAreWhatTilesCover) {
  const GridTiles chosen = tiles();
  for (std::size_t i = 0; i < chosen.cells.size(); ++i) {
    const Point<TargetPx> at = origin(chosen.cells[i]);
    const auto inside = [&](std::int64_t begin, std::int64_t extent) {
      return static_cast<double>(std::min(begin + grid_.tile_px, extent) - std::max<std::int64_t>(begin, 0));
    };
    const double expected = inside(at.x, grid_.target_size.width) * inside(at.y, grid_.target_size.height) /
                            (static_cast<double>(grid_.tile_px) * grid_.tile_px);
    EXPECT_NEAR(chosen.tissue_fraction[i], expected, 1e-5);
  }
}

TEST_P(GridLaws, NoneReachesOverTheEdgeIfAllIsToBeInside) {
  grid_.min_inside = 1;
  for (const TileCell cell : tiles().cells) {
    const Point<TargetPx> at = origin(cell);
    EXPECT_GE(at.x, 0);
    EXPECT_GE(at.y, 0);
    EXPECT_LE(at.x + grid_.tile_px, grid_.target_size.width);
    EXPECT_LE(at.y + grid_.tile_px, grid_.target_size.height);
  }
}

TEST_P(GridLaws, LeastShareOfTissueIsKept) {
  std::size_t before = tiles().cells.size();
  for (const double least : {0.2, 0.5, 0.99, 1.0}) {
    grid_.min_tissue = least;
    const GridTiles chosen = tiles();
    EXPECT_LE(chosen.cells.size(), before);
    before = chosen.cells.size();
    for (const float share : chosen.tissue_fraction) EXPECT_GE(share, least - 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GridLaws,
                         testing::Combine(testing::Values(64, 97), testing::Values(64, 101, 130),
                                          testing::Values(32, 64), testing::Values(0, 2, 16, 30), testing::Bool()),
                         [](const auto& given) {
                           return fmt::format("{}x{}by{}overlap{}{}", std::get<0>(given.param),
                                              std::get<1>(given.param), std::get<2>(given.param),
                                              std::get<3>(given.param), std::get<4>(given.param) ? "shifted" : "");
                         });

TEST(TileNeighbours, AreTheTilesThatTouchOrNearlySo) {
  io::TileSet tiles;
  tiles.tile_px = 64;
  EXPECT_EQ(tiles.neighbour_cells(), 2);  // of a half-shifted grid too: odd to odd
  const auto step = [&](int stride, int cell) {
    tiles.lattice = io::TileLattice{stride, cell, {}};
    const Point<TargetPx> here = tiles.origin({1, 1}), there = tiles.origin({1 + tiles.neighbour_cells(), 1});
    return there.x - here.x;
  };
  EXPECT_EQ(step(32, 16), 64);
  EXPECT_EQ(step(64, 32), 64);
  EXPECT_EQ(step(48, 24), 48);  // the nearest there is
  EXPECT_EQ(step(62, 31), 62);
  EXPECT_EQ(step(64, 1), 64);
}

}  // namespace
}  // namespace vtissue::stages
