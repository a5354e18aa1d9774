#include "stages/synthesize/window_layout.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "core/error.h"
#include "stages/synthesize/tissue_canvas.h"
#include "tests/stages/stage_fixture.h"

namespace vtissue::stages {
namespace {

constexpr int kSize = 16;

/// Tiles of the base grid in scattered pieces.
std::vector<TileCell> scattered_tiles(unsigned seed) {
  std::mt19937 random(seed);
  std::set<TileCell> cells;
  for (int k = 0; k < 40; ++k) {
    cells.insert({2 * static_cast<std::int32_t>(random() % 12), 2 * static_cast<std::int32_t>(random() % 9)});
  }
  return {cells.begin(), cells.end()};
}

/// How many windows of a step each latent of the tiles lies in.
std::set<int> coverage(const WindowLayout& layout, const std::vector<TileCell>& cells, int step) {
  std::map<std::pair<std::int64_t, std::int64_t>, int> windows_at;
  for (const Point<Latent> window : layout.windows(step)) {
    for (int y = 0; y < kSize; ++y) {
      for (int x = 0; x < kSize; ++x) ++windows_at[{window.x + x, window.y + y}];
    }
  }
  std::set<int> seen;
  for (const TileCell cell : cells) {
    const Point<Latent> tile = latent_origin(cell, kSize);
    for (int y = 0; y < kSize; ++y) {
      for (int x = 0; x < kSize; ++x) seen.insert(windows_at[{tile.x + x, tile.y + y}]);
    }
  }
  return seen;
}

TEST(WindowLayoutTest, EveryLatentOfATileIsInOneWindowOrInFourThatAreBlended) {
  for (unsigned seed = 0; seed < 5; ++seed) {
    const std::vector<TileCell> cells = scattered_tiles(seed);
    const WindowLayout shifted(cells, kSize, {.mode = SynthesisMode::kShifted, .seed = seed, .steps = 6});
    for (int step = 0; step < 6; ++step) {
      EXPECT_EQ(shifted.blended(step), step >= 4);
      EXPECT_THAT(coverage(shifted, cells, step), testing::ElementsAre(step >= 4 ? 4 : 1)) << step;
    }
    const WindowLayout overlap(cells, kSize, {.mode = SynthesisMode::kOverlap, .steps = 6});
    EXPECT_THAT(coverage(overlap, cells, 0), testing::ElementsAre(4));
    const WindowLayout independent(cells, kSize, {.mode = SynthesisMode::kIndependent, .steps = 6});
    EXPECT_THAT(coverage(independent, cells, 3), testing::ElementsAre(1));
    EXPECT_EQ(independent.windows(0).size(), cells.size());
  }
}

TEST(WindowLayoutTest, EveryWindowShowsTissueAndTheyAreInOrder) {
  const std::vector<TileCell> cells = scattered_tiles(7);
  const TissueCanvas canvas(cells, kSize, 1, 1);
  const WindowLayout layout(cells, kSize, {.seed = 3, .steps = 8});
  for (int step = 0; step < 8; ++step) {
    const std::vector<Point<Latent>> windows = layout.windows(step);
    EXPECT_TRUE(std::ranges::is_sorted(windows, {}, [](Point<Latent> p) { return std::pair(p.y, p.x); }));
    EXPECT_EQ(std::ranges::adjacent_find(windows), windows.end());
    for (const Point<Latent> window : windows) EXPECT_FALSE(canvas.overlaps(window).empty());
  }
}

TEST(WindowLayoutTest, TheWindowsOverATileAreThoseThatMeetIt) {
  const std::vector<TileCell> cells = scattered_tiles(5);
  for (const auto mode : {SynthesisMode::kShifted, SynthesisMode::kOverlap, SynthesisMode::kIndependent}) {
    const WindowLayout layout(cells, kSize, {.mode = mode, .seed = 2, .steps = 6});
    for (int step = 0; step < 6; ++step) {
      for (const TileCell cell : cells) {
        const Point<Latent> tile = latent_origin(cell, kSize);
        std::vector<Point<Latent>> meeting = layout.windows(step);
        std::erase_if(meeting, [&](Point<Latent> window) {
          return std::abs(window.x - tile.x) >= kSize || std::abs(window.y - tile.y) >= kSize;
        });
        EXPECT_EQ(layout.windows_over(tile, step), meeting);
      }
    }
  }
}

TEST(WindowLayoutTest, OffsetsLieOnTheGrainAndAreSpreadOverTheTile) {
  const std::vector<TileCell> cells{{0, 0}};
  std::set<std::pair<std::int64_t, std::int64_t>> first_offsets;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const WindowLayout layout(cells, kSize, {.seed = seed, .steps = 20, .grain = 2});
    std::array<std::set<std::int64_t>, 2> quarters;
    for (int step = 0; step < 20; ++step) {
      const Point<Latent> offset = layout.offset(step);
      EXPECT_EQ(offset, layout.offset(step));
      EXPECT_TRUE(offset.x % 2 == 0 && offset.y % 2 == 0 && offset.x >= 0 && offset.y >= 0);
      EXPECT_TRUE(offset.x < kSize && offset.y < kSize);
      if (step < 8) quarters[0].insert(offset.x / 4), quarters[1].insert(offset.y / 4);
      if (step > 0) {
        EXPECT_NE(offset, layout.offset(step - 1));
      }
    }
    // A sequence of low discrepancy has been everywhere soon.
    EXPECT_EQ(quarters[0].size(), 4u) << seed;
    EXPECT_EQ(quarters[1].size(), 4u) << seed;
    first_offsets.insert({layout.offset(0).x, layout.offset(0).y});
  }
  EXPECT_GT(first_offsets.size(), 5u);
}

TEST(WindowLayoutTest, RefusesTilesBetweenTheGridAndOddSizes) {
  const std::vector<TileCell> between{{1, 0}};
  EXPECT_THROW(WindowLayout(between, kSize, {}), Error);
  EXPECT_NO_THROW(WindowLayout(between, kSize, {.mode = SynthesisMode::kIndependent}));
  const std::vector<TileCell> base{{0, 0}};
  EXPECT_THROW(WindowLayout(base, 6, {.grain = 2}), Error);
  EXPECT_THROW(parse_synthesis_mode("shuffled"), Error);
  for (const auto mode : {SynthesisMode::kShifted, SynthesisMode::kOverlap, SynthesisMode::kIndependent}) {
    EXPECT_EQ(parse_synthesis_mode(to_string(mode)), mode);
  }
}

TEST(WindowLayoutTest, TentsAddUpToOne) {
  for (const int size : {4, 16, 28, 128}) {
    const std::vector<float> weights = tent_weights(size);
    const auto at = [&](int y, int x) { return weights[static_cast<std::size_t>(y * size + x)]; };
    const int half = size / 2;
    for (int y = 0; y < half; ++y) {
      for (int x = 0; x < half; ++x) {
        EXPECT_GT(at(y, x), 0.0f);
        EXPECT_NEAR(at(y, x) + at(y + half, x) + at(y, x + half) + at(y + half, x + half), 1.0f, 1e-6f);
      }
    }
  }
}

class TissueCanvasTest : public StageFixture {};

TEST_F(TissueCanvasTest, WindowsOfAStepPutTheCanvasTogetherAgain) {
  const std::vector<TileCell> cells = scattered_tiles(11);
  for (const bool in_memory : {true, false}) {
    TissueCanvas canvas(cells, kSize, 3, 2, in_memory ? std::filesystem::path() : folder_);
    const WindowLayout layout(cells, kSize, {.seed = 5, .steps = 9, .blended_steps = 0});
    const auto value = [](int plane, int channel, std::int64_t x, std::int64_t y) {
      return static_cast<float>(plane * 1000000 + channel * 100000 + x * 300 + y);
    };
    for (int step = 0; step < 9; ++step) {
      for (const Point<Latent> window : layout.windows(step)) {
        for (int plane = 0; plane < 2; ++plane) {
          std::vector<float> values;
          for (int channel = 0; channel < 3; ++channel) {
            for (int y = 0; y < kSize; ++y) {
              for (int x = 0; x < kSize; ++x) values.push_back(value(plane, channel, window.x + x, window.y + y));
            }
          }
          canvas.write(step % 2, plane, window, values);
        }
      }
      for (const TileCell cell : cells) {
        const Point<Latent> tile = latent_origin(cell, kSize);
        EXPECT_TRUE(canvas.covers(tile));
        for (int plane = 0; plane < 2; ++plane) {
          std::vector<float> values(3 * kSize * kSize, -1.0f);
          canvas.read(step % 2, plane, tile, values);
          for (std::size_t k = 0; k < values.size(); ++k) {
            const auto i = static_cast<int>(k);
            ASSERT_EQ(values[k], value(plane, i / 256, tile.x + i % kSize, tile.y + i / kSize % kSize));
          }
        }
      }
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder_));  // the file has no name
  }
}

TEST_F(TissueCanvasTest, WhatIsNoTilesStaysAsItIs) {
  const std::vector<TileCell> cells{{0, 0}, {2, 2}};
  TissueCanvas canvas(cells, kSize, 1, 1);
  canvas.write(0, 0, {0, 0}, std::vector<float>(256, 1.0f));
  canvas.write(0, 0, {16, 16}, std::vector<float>(256, 2.0f));
  std::vector<float> values(256, -5.0f);
  canvas.read(0, 0, {8, 8}, values);
  const auto at = [&](int x, int y) { return values[static_cast<std::size_t>(y * kSize + x)]; };
  EXPECT_EQ(at(7, 7), 1.0f);
  EXPECT_EQ(at(8, 8), 2.0f);
  EXPECT_EQ(at(8, 7), -5.0f);
  EXPECT_EQ(at(7, 8), -5.0f);
  EXPECT_FALSE(canvas.covers({8, 8}));
  EXPECT_EQ(canvas.overlaps({-100, 3}).size(), 0u);
  EXPECT_EQ(canvas.overlaps({-15, -15}).at(0).area(), 1);
}

TEST_F(TissueCanvasTest, AFolderThatIsNotThereIsNamed) {
  const std::vector<TileCell> cells{{0, 0}};
  try {
    TissueCanvas canvas(cells, kSize, 1, 1, folder_ / "missing");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kOutput);
    EXPECT_THAT(e.what(), testing::HasSubstr("missing"));
  }
}

}  // namespace
}  // namespace vtissue::stages
