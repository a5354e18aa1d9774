// Outlines of masks and masks of outlines.

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "stages/tile/components.h"
#include "stages/tile/polygon_fill.h"
#include "stages/tile/tissue_contours.h"

namespace vtissue::stages {
namespace {

BinaryImage blank(std::int64_t width, std::int64_t height) {
  return {{width, height}, std::vector<std::uint8_t>(static_cast<std::size_t>(width * height))};
}

BinaryImage random_mask(std::int64_t width, std::int64_t height, double share, unsigned seed) {
  std::mt19937 random(seed);
  BinaryImage mask = blank(width, height);
  for (auto& pixel : mask.pixels) pixel = static_cast<double>(random() % 1000) < 1000 * share;
  return mask;
}

double signed_area(const io::GeoRing& ring) {
  double area = 0;
  for (std::size_t i = 0; i < ring.size(); ++i) {
    const auto &a = ring[i], &b = ring[(i + 1) % ring.size()];
    area += a.x * b.y - b.x * a.y;
  }
  return area / 2;
}

TEST(TissueContours, FillingThemGivesTheMaskBack) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    const BinaryImage mask = random_mask(1 + seed % 9 * 5, 1 + seed % 7 * 6, 0.3 + 0.02 * seed, seed);
    BinaryImage filled = blank(mask.size.width, mask.size.height);
    std::int64_t area = 0;
    double outlined = 0;
    for (const io::GeoPolygon& piece : tissue_contours(mask)) {
      const FillResult result = fill_polygon(filled, piece, {});
      EXPECT_FALSE(result.self_crossing) << "seed " << seed;
      area += result.pixels;
      EXPECT_GT(signed_area(piece.front()), 0);
      for (std::size_t ring = 0; ring < piece.size(); ++ring) {
        outlined += signed_area(piece[ring]);
        if (ring > 0) {
          EXPECT_LT(signed_area(piece[ring]), 0);
        }
      }
    }
    EXPECT_EQ(filled.pixels, mask.pixels) << "seed " << seed;
    EXPECT_EQ(static_cast<double>(area), outlined) << "seed " << seed;  // no pixel is in two pieces
  }
}

TEST(TissueContours, OfSimpleShapes) {
  BinaryImage mask = blank(5, 4);
  for (const int i : {6, 7, 8, 11, 13, 16, 17, 18})
    mask.pixels[static_cast<std::size_t>(i)] = 1;  // a ring around (2, 2)
  const auto pieces = tissue_contours(mask);
  ASSERT_EQ(pieces.size(), 1u);
  ASSERT_EQ(pieces[0].size(), 2u);
  EXPECT_EQ(pieces[0][0].size(), 4u);  // no points on straight lines
  EXPECT_EQ(signed_area(pieces[0][0]), 9);
  EXPECT_EQ(signed_area(pieces[0][1]), -1);
  EXPECT_TRUE(tissue_contours(blank(3, 3)).empty());
  EXPECT_TRUE(tissue_contours(blank(0, 0)).empty());
}

TEST(FillPolygon, TakesPixelsWhoseCentreIsInside) {
  BinaryImage mask = blank(10, 10);
  // 4 level-0 pixels a mask pixel, from (100, 200).
  const FillResult result =
      fill_polygon(mask, {{{104, 204}, {120.1, 204}, {120.1, 214.1}, {104, 214.1}}}, {4, 100, 200});
  EXPECT_EQ(result.pixels, 4 * 3);  // x 1..5.025, y 1..3.525
  for (std::int64_t y = 0; y < 10; ++y) {
    for (std::int64_t x = 0; x < 10; ++x)
      EXPECT_EQ(mask.pixels[static_cast<std::size_t>(y * 10 + x)], x >= 1 && x < 5 && y >= 1 && y < 4);
  }
}

TEST(FillPolygon, EqualsAPointTestOfEveryPixel) {
  std::mt19937 random(7);
  const auto position = [&] { return static_cast<double>(random() % 6000) / 100 - 10; };
  for (int trial = 0; trial < 200; ++trial) {
    io::GeoRing ring;
    for (unsigned i = 0; i < 3 + random() % 8; ++i) ring.push_back({position(), position()});
    BinaryImage mask = blank(40, 37);
    const FillResult result = fill_polygon(mask, {ring}, {});
    bool twice = false;
    for (std::int64_t y = 0; y < 37; ++y) {
      for (std::int64_t x = 0; x < 40; ++x) {
        const double px = static_cast<double>(x) + 0.5, py = static_cast<double>(y) + 0.5;
        int winding = 0;
        for (std::size_t i = 0; i < ring.size(); ++i) {
          const auto &a = ring[i], &b = ring[(i + 1) % ring.size()];
          if ((a.y <= py) == (b.y <= py)) continue;
          const double at = a.x + (b.x - a.x) * ((py - a.y) / (b.y - a.y));
          if (at <= px) winding += a.y <= py ? 1 : -1;
        }
        twice = twice || std::abs(winding) > 1;
        ASSERT_EQ(mask.pixels[static_cast<std::size_t>(y * 40 + x)], winding != 0) << trial << " at " << x << ", " << y;
      }
    }
    EXPECT_EQ(result.self_crossing, twice) << trial;
  }
}

TEST(FillPolygon, HolesCrossingsAndFarOutlines) {
  BinaryImage mask = blank(20, 20);
  const io::GeoRing square = {{0, 0}, {20, 0}, {20, 20}, {0, 20}};
  // Two holes that overlap stay holes; one beyond the outline adds nothing.
  const io::GeoRing hole = {{2, 2}, {8, 2}, {8, 8}, {2, 8}}, other = {{5, 5}, {12, 5}, {12, 12}, {5, 12}};
  EXPECT_EQ(fill_polygon(mask, {square, hole, other, {{30, 30}, {40, 30}, {40, 40}}}, {}).pixels, 400 - 36 - 49 + 9);
  // A loop around the same way twice is inside; a bow tie has both its halves.
  mask = blank(20, 20);
  io::GeoRing loop = square;
  loop.insert(loop.end(), {{0, 0}, {10, 0}, {10, 10}, {0, 10}});
  const FillResult looped = fill_polygon(mask, {loop}, {});
  EXPECT_EQ(looped.pixels, 400);
  EXPECT_TRUE(looped.self_crossing);
  mask = blank(20, 20);
  const FillResult bow = fill_polygon(mask, {{{0, 0}, {20, 20}, {20, 0}, {0, 20}}}, {});
  EXPECT_NEAR(static_cast<double>(bow.pixels), 200, 20);
  // Far beyond every side.
  mask = blank(20, 20);
  EXPECT_EQ(fill_polygon(mask, {{{-1e8, -1e8}, {1e8, -1e8}, {1e8, 1e8}, {-1e8, 1e8}}}, {}).pixels, 400);
  EXPECT_EQ(fill_polygon(mask, {{{-1e8, -5}, {1e8, -5}, {1e8, -3}}}, {}).pixels, 0);
  EXPECT_EQ(fill_polygon(mask, {{{3.1, 3.1}, {3.2, 3.1}, {3.2, 3.2}}}, {}).pixels, 0);
  EXPECT_EQ(fill_polygon(mask, {}, {}).pixels, 0);
}

TEST(Components, AgreeWithFloodFilling) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const BinaryImage mask = random_mask(23, 17, 0.45, seed);
    for (const bool diagonal : {false, true}) {
      const Components parts = find_components(mask, 1, diagonal);
      std::vector<std::int32_t> expected(mask.pixels.size(), -1);
      std::int32_t count = 0;
      for (std::int64_t start = 0; start < mask.size.area(); ++start) {
        if (!mask.pixels[static_cast<std::size_t>(start)] || expected[static_cast<std::size_t>(start)] >= 0) continue;
        std::vector<std::int64_t> stack = {start};
        while (!stack.empty()) {
          const std::int64_t i = stack.back();
          stack.pop_back();
          if (expected[static_cast<std::size_t>(i)] >= 0) continue;
          expected[static_cast<std::size_t>(i)] = count;
          for (std::int64_t dy = -1; dy <= 1; ++dy) {
            for (std::int64_t dx = -1; dx <= 1; ++dx) {
              if (!diagonal && dx != 0 && dy != 0) continue;
              const std::int64_t x = i % 23 + dx, y = i / 23 + dy;
              if (x >= 0 && y >= 0 && x < 23 && y < 17 && mask.pixels[static_cast<std::size_t>(y * 23 + x)])
                stack.push_back(y * 23 + x);
            }
          }
        }
        ++count;
      }
      EXPECT_EQ(parts.labels, expected) << seed;
      EXPECT_EQ(parts.pixels.size(), static_cast<std::size_t>(count));
    }
  }
}

}  // namespace
}  // namespace vtissue::stages
