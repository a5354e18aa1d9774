#include "stages/evaluate/seam_metric.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace vtissue::stages {
namespace {

constexpr int kTile = 64;
constexpr Box<TargetPx> kBox{{0, 0}, {512, 512}};

io::TileSet all_tissue() {
  io::TileSet tiles;
  tiles.tile_px = kTile;
  for (int row = 0; row < 8; ++row) {
    for (int column = 0; column < 8; ++column) tiles.cells.push_back({2 * column, 2 * row});
  }
  return tiles;
}

/// Noise around 128 with something added at each pixel.
template <typename Add>
std::vector<std::uint8_t> picture(Add&& add) {
  std::mt19937 random(3);
  std::vector<std::uint8_t> rgb;
  for (int y = 0; y < 512; ++y) {
    for (int x = 0; x < 512; ++x) {
      const int value = 118 + static_cast<int>(random() % 21) + add(x, y);
      rgb.insert(rgb.end(), 3, static_cast<std::uint8_t>(value));
    }
  }
  return rgb;
}

SeamScores scores_of(const io::TileSet& tiles, const std::vector<std::uint8_t>& rgb) {
  SeamMetric metric(tiles);
  metric.add(kBox, rgb);
  return metric.scores();
}

TEST(SeamMetricTest, APictureWithoutAGridHasScoresOfOne) {
  const SeamScores scores = scores_of(all_tissue(), picture([](int, int) { return 0; }));
  EXPECT_NEAR(*scores.lines, 1.0, 0.05);
  EXPECT_NEAR(*scores.worst_phase, 1.0, 0.05);
  EXPECT_NEAR(*scores.colour_step, 1.0, 0.35);
  EXPECT_GT(scores.gradient_energy, 0);
}

TEST(SeamMetricTest, AStepAtTheTilesIsSeenInLinesAndColours) {
  const auto board = picture([](int x, int y) { return (x / kTile + y / kTile) % 2 * 30; });
  const SeamScores scores = scores_of(all_tissue(), board);
  EXPECT_GT(*scores.lines, 2.0);
  EXPECT_GT(*scores.colour_step, 5.0);
}

TEST(SeamMetricTest, HalfTilesCountAsLinesAndOtherPlacesAsAPhase) {
  const auto half = picture([](int x, int) { return x % kTile >= kTile / 2 ? 30 : 0; });
  EXPECT_GT(*scores_of(all_tissue(), half).lines, 2.0);
  const auto quarter = picture([](int x, int) { return x % kTile >= 8 && x % kTile < 24 ? 30 : 0; });
  const SeamScores scores = scores_of(all_tissue(), quarter);
  EXPECT_LT(*scores.lines, 1.1);
  EXPECT_GT(*scores.worst_phase, 2.0);
}

TEST(SeamMetricTest, BothAxesAreLookedAt) {
  EXPECT_GT(*scores_of(all_tissue(), picture([](int, int y) { return y / kTile % 2 * 30; })).lines, 2.0);
  EXPECT_GT(*scores_of(all_tissue(), picture([](int x, int) { return x / kTile % 2 * 30; })).lines, 2.0);
}

TEST(SeamMetricTest, ASlowChangeOfColourIsSeenWithoutAnEdge) {
  // Tiles of other colours whose borders are ramps of 16 px: no edge, but a step from strip to strip.
  const auto ramp = [](int x) {
    const int tile = (x + 8) / kTile, within = (x + 8) % kTile;
    const int here = tile % 2 * 24, before = (tile + 1) % 2 * 24;
    return within < 16 ? before + (here - before) * within / 16 : here;
  };
  const SeamScores scores = scores_of(all_tissue(), picture([&](int x, int) { return ramp(x); }));
  EXPECT_GT(*scores.colour_step, 3.0);
}

TEST(SeamMetricTest, OnlyTissueCounts) {
  io::TileSet tiles = all_tissue();
  std::erase_if(tiles.cells, [](TileCell cell) { return cell.column >= 8; });
  const auto right = picture([](int x, int) { return x >= 256 ? x / kTile % 2 * 60 : 0; });
  EXPECT_LT(*scores_of(tiles, right).lines, 1.1);
  EXPECT_EQ(scores_of(tiles, right).pixels * 2, 512 * 255 + 256 * 511);
  tiles.cells.clear();
  const SeamScores none = scores_of(tiles, right);
  EXPECT_FALSE(none.lines || none.worst_phase || none.colour_step);
}

TEST(SeamMetricTest, BoxesAddUpWhereverTheyBegin) {
  const auto rgb = picture([](int x, int y) { return (x / kTile + y / kTile) % 2 * 30; });
  const Box<TargetPx> part{{200, 136}, {300, 350}};
  std::vector<std::uint8_t> cut;
  for (std::int64_t y = 0; y < part.size.height; ++y) {
    const auto first = rgb.begin() + ((part.origin.y + y) * 512 + part.origin.x) * 3;
    cut.insert(cut.end(), first, first + part.size.width * 3);
  }
  const io::TileSet tiles = all_tissue();
  SeamMetric metric(tiles);
  metric.add(part, cut);
  EXPECT_GT(*metric.scores().lines, 2.0);
}

}  // namespace
}  // namespace vtissue::stages
