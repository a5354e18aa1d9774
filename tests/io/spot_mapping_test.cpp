#include "io/spot_mapping.h"

#include <gmock/gmock.h>

#include <cmath>
#include <random>

#include "store_test_support.h"

namespace vtissue::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

SpotTable spots_at(std::vector<double> x, std::vector<double> y) {
  SpotTable spots;
  spots.x = std::move(x);
  spots.y = std::move(y);
  spots.source = "visium";
  return spots;
}

SpotWeights map_one(const SpotTable& spots, double x, double y, double half, SpotMappingOptions options) {
  const std::vector<double> xs{x}, ys{y};
  return map_spots(spots, {xs, ys, half}, options);
}

TEST(SpotMapping, NearestTakesTheSpotThatReachesTheTile) {
  SpotTable spots = spots_at({0, 100, 200}, {0, 0, 0});
  spots.spot_diameter_px = 40;
  const SpotMappingOptions nearest{SpotMapping::kNearest, {}};
  EXPECT_THAT(map_one(spots, 90, 5, 10, nearest).spots, ElementsAre(1));
  EXPECT_THAT(map_one(spots, 90, 5, 10, nearest).weights, ElementsAre(1.0f));
  EXPECT_THAT(map_one(spots, 50, 0, 10, nearest).spots, IsEmpty());       // reach is 20 + 10
  EXPECT_THAT(map_one(spots, 50, 0, 30, nearest).spots, ElementsAre(0));  // a tie goes to the smaller index
  EXPECT_THAT(map_one(spots, 50, 0, 10, {SpotMapping::kNearest, 60}).spots, ElementsAre(0));
}

TEST(SpotMapping, DistanceWeighsByOneMinusDistanceOverReach) {
  SpotTable spots = spots_at({0, 10, 100}, {0, 0, 0});
  spots.spot_diameter_px = 20;
  const double half = 10 / std::sqrt(2.0);  // reach 10 + 10
  const SpotWeights weights = map_one(spots, 0, 0, half, {SpotMapping::kDistance, {}});
  EXPECT_THAT(weights.spots, ElementsAre(0, 1));
  EXPECT_NEAR(weights.weights[0], 1 / 1.5, 1e-6);
  EXPECT_NEAR(weights.weights[1], 0.5 / 1.5, 1e-6);
}

TEST(SpotMapping, InterpolateWeighsByInverseSquare) {
  SpotTable spots = spots_at({0, 30, 1000}, {0, 0, 0});
  spots.pitch_px = 30;
  const SpotMappingOptions interpolate{SpotMapping::kInterpolate, {}};
  const SpotWeights between = map_one(spots, 10, 0, 1, interpolate);
  EXPECT_THAT(between.spots, ElementsAre(0, 1));
  EXPECT_NEAR(between.weights[0], 0.8, 1e-6);
  EXPECT_NEAR(between.weights[1], 0.2, 1e-6);
  EXPECT_THAT(map_one(spots, 30, 0, 1, interpolate).spots, ElementsAre(1));  // at the spot's centre it alone
  EXPECT_THAT(map_one(spots, 500, 0, 1, interpolate).spots, IsEmpty());
}

TEST(SpotMapping, InterpolateTakesThePitchFromTheSpots) {
  EXPECT_THAT(map_one(spots_at({0, 30, 60}, {0, 0, 0}), 70, 0, 1, {SpotMapping::kInterpolate, {}}).spots,
              ElementsAre(1, 2));
  const Error error = error_of([&] { map_one(spots_at({0}, {0}), 0, 0, 1, {SpotMapping::kInterpolate, {}}); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("maximum distance"));
}

/// All spots asked, no grid.
SpotWeights slow_map(const SpotTable& spots, const TileSquares& tiles, SpotMapping mapping, double reach) {
  SpotWeights result;
  result.indptr.push_back(0);
  for (std::size_t tile = 0; tile < tiles.x.size(); ++tile) {
    std::vector<std::pair<std::int32_t, double>> found;
    std::pair<std::int32_t, double> nearest{-1, reach};
    double sum = 0;
    for (std::size_t i = 0; i < spots.x.size(); ++i) {
      const double d = std::hypot(spots.x[i] - tiles.x[tile], spots.y[i] - tiles.y[tile]);
      if (d > reach || (mapping == SpotMapping::kDistance && d >= reach)) continue;
      const double weight = mapping == SpotMapping::kDistance ? 1 - d / reach : 1 / (d * d);
      if (d < nearest.second || nearest.first < 0) nearest = {static_cast<std::int32_t>(i), d};
      found.emplace_back(static_cast<std::int32_t>(i), weight);
      sum += weight;
    }
    if (mapping == SpotMapping::kNearest && nearest.first >= 0) {
      found = {{nearest.first, 1.0}};
      sum = 1;
    }
    for (const auto& [spot, weight] : found) {
      result.spots.push_back(spot);
      result.weights.push_back(static_cast<float>(weight / sum));
    }
    result.indptr.push_back(static_cast<std::int64_t>(result.spots.size()));
  }
  return result;
}

TEST(SpotMapping, TheGridFindsWhatAskingAllSpotsFinds) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> position(-500, 5000);
  std::vector<double> spot_x, spot_y, x, y;
  for (int i = 0; i < 400; ++i) {
    spot_x.push_back(position(random));
    spot_y.push_back(position(random));
    x.push_back(1.3 * position(random));
    y.push_back(1.3 * position(random));
  }
  const SpotTable spots = spots_at(spot_x, spot_y);
  const TileSquares tiles{x, y, 60};
  for (const auto mapping : {SpotMapping::kNearest, SpotMapping::kDistance, SpotMapping::kInterpolate}) {
    for (const double reach : {15.0, 300.0, 20000.0}) {
      const SpotWeights fast = map_spots(spots, tiles, {mapping, reach});
      const SpotWeights slow = slow_map(spots, tiles, mapping, reach);
      EXPECT_EQ(fast.indptr, slow.indptr);
      EXPECT_EQ(fast.spots, slow.spots);
      EXPECT_EQ(fast.weights, slow.weights);
    }
  }
}

TEST(SpotMapping, WeightedMeansKeepConstants) {
  const SpotTable spots = spots_at({0, 30, 60}, {0, 0, 0});
  const std::vector<double> x{5, 40, 900}, y{3, 3, 3};
  const SpotWeights weights = map_spots(spots, {x, y, 20}, {SpotMapping::kInterpolate, 100});
  const std::vector<float> values{7, 1, 7, 2, 7, 3};
  const std::vector<float> out = apply_weights(weights, values, 2, 0, 3);
  EXPECT_GT(weights.spots_of(1), 0);
  EXPECT_EQ(weights.spots_of(2), 0);
  EXPECT_NEAR(out[0], 7, 1e-5);
  EXPECT_NEAR(out[2], 7, 1e-5);
  EXPECT_GT(out[1], 1);
  EXPECT_LT(out[1], out[3]);
  EXPECT_EQ(out[4], 0);
  EXPECT_THAT(apply_weights(weights, values, 2, 1, 1), ElementsAre(out[2], out[3]));
}

TEST(SpotMapping, NoSpotsLeaveAllTilesEmpty) {
  EXPECT_THAT(map_one(spots_at({}, {}), 0, 0, 1, {}).indptr, ElementsAre(0, 0));
}

TEST(SpotMapping, NamesAreParsed) {
  for (const auto mapping : {SpotMapping::kAuto, SpotMapping::kNearest, SpotMapping::kDistance,
                             SpotMapping::kInterpolate, SpotMapping::kPool}) {
    EXPECT_EQ(parse_spot_mapping(to_string(mapping)), mapping);
  }
  EXPECT_EQ(error_of([] { parse_spot_mapping("cubic"); }).code(), ErrorCode::kUsage);
  EXPECT_EQ(error_of([] {
              map_one(spots_at({0}, {0}), 0, 0, 1, {SpotMapping::kNearest, -1});
            }).code(),
            ErrorCode::kUsage);
}

TEST(SpotPlacement, FewSpotsOutsideAreReportedManyRefused) {
  SpotTable spots = spots_at({-1, 10, 20, 30}, {5, 5, 5, 99});
  EXPECT_EQ(check_placement(spots, {31, 100}, {}, "outs").outside, 1u);
  const Error error = error_of([&] { check_placement(spots, {31, 50}, {}, "outs"); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(),
              HasSubstr("outs: 2 of 4 spots lie outside the slide (spots x -1 to 30, y 5 to 99; slide 31 x 50 px)"));
  EXPECT_THAT(error.what(), HasSubstr("another image"));
}

TEST(SpotPlacement, TheArraysPitchMustFitTheSlidesScale) {
  SpotTable spots = spots_at({10}, {10});
  spots.pitch_px = 200;
  spots.pitch_um = 100;
  EXPECT_EQ(check_placement(spots, {100, 100}, 0.55, "outs").mpp_from_pitch, 0.5);
  const Error error = error_of([&] { check_placement(spots, {100, 100}, 0.25, "outs"); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("makes 0.500 µm/px, but the slide has 0.250"));
}

TEST(NeighborDistance, IsTheGridsPitch) {
  std::vector<double> x, y;
  for (int row = 0; row < 20; ++row) {
    for (int column = 0; column < 30; ++column) {
      x.push_back(1000 + column * 25.0);
      y.push_back(row * 25.0);
    }
  }
  EXPECT_DOUBLE_EQ(*median_neighbor_distance(x, y), 25);
  EXPECT_FALSE(median_neighbor_distance(std::vector<double>{1}, std::vector<double>{1}));
  EXPECT_FALSE(median_neighbor_distance(std::vector<double>{1, 1}, std::vector<double>{1, 1}));
  EXPECT_DOUBLE_EQ(*median_neighbor_distance(std::vector<double>{1, 1, 1}, std::vector<double>{0, 5, 10}), 5);
}

}  // namespace
}  // namespace vtissue::io
