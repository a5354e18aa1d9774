#include "core/units.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <type_traits>
#include <vector>

namespace vtissue {
namespace {

template <typename A, typename B>
concept Addable = requires(A a, B b) {
  a + b;
};

static_assert(Addable<Point<Level0Px>, Point<Level0Px>>);
static_assert(!Addable<Point<Level0Px>, Point<TargetPx>>, "points of different systems must not add");
static_assert(!std::is_convertible_v<Point<Level0Px>, Point<TargetPx>>);
static_assert(!std::is_convertible_v<Size<LevelPx>, Size<TargetPx>>);

TEST(Units, PointsAddAndSubtract) {
  const Point<TargetPx> a{3, -4}, b{10, 20};
  EXPECT_EQ((a + b), (Point<TargetPx>{13, 16}));
  EXPECT_EQ((a + b - b), a);
}

TEST(Units, ASizeIsEmptyWithoutArea) {
  EXPECT_TRUE((Size<LevelPx>{}).empty());
  EXPECT_TRUE((Size<LevelPx>{5, 0}).empty());
  EXPECT_TRUE((Size<LevelPx>{-1, 5}).empty());
  EXPECT_FALSE((Size<LevelPx>{1, 1}).empty());
  EXPECT_EQ((Size<LevelPx>{100'000, 100'000}).area(), 10'000'000'000);  // more than 32 bits
}

TEST(Units, ABoxIsHalfOpen) {
  const Box<Latent> box{{2, 3}, {4, 5}};
  EXPECT_TRUE(box.contains({2, 3}));
  EXPECT_TRUE(box.contains({5, 7}));
  EXPECT_FALSE(box.contains({6, 3}));
  EXPECT_FALSE(box.contains({2, 8}));
  EXPECT_FALSE(box.contains({1, 3}));
  EXPECT_FALSE((Box<Latent>{{2, 3}, {0, 0}}).contains({2, 3}));
}

TEST(Units, TilesAreOrderedByRowThenColumn) {
  std::vector<TileCell> cells = {{2, 2}, {0, 2}, {4, 0}, {0, 0}};
  std::sort(cells.begin(), cells.end());
  EXPECT_EQ(cells, (std::vector<TileCell>{{0, 0}, {4, 0}, {0, 2}, {2, 2}}));
}

}  // namespace
}  // namespace vtissue
