#include "io/tile_means.h"

#include <gmock/gmock.h>

#include <cmath>

#include "io/anndata.h"
#include "io/spot_record.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Nine bins of 10 px in a square from (5, 5); bin i has i counts of gene A and 10 of gene C, which is not in the
/// panel.
SpotTable bins() {
  SpotTable spots;
  spots.source = "visium-hd";
  spots.pitch_px = 10;
  spots.counts.genes = {"A", "C", "A"};
  spots.counts.rows = 9;
  spots.counts.indptr = {0};
  for (int i = 0; i < 9; ++i) {
    spots.barcodes.push_back("bin" + std::to_string(i));
    spots.x.push_back(5 + 10 * (i % 3));
    spots.y.push_back(5 + 10 * (i / 3));
    if (i > 0) spots.counts.indices.push_back(i % 2 == 0 ? 0 : 2), spots.counts.values.push_back(static_cast<float>(i));
    if (i % 2 == 0) {
      spots.counts.indices.push_back(1), spots.counts.values.push_back(10);
    } else {  // before the second column of A
      spots.counts.indices.insert(spots.counts.indices.end() - 1, 1);
      spots.counts.values.insert(spots.counts.values.end() - 1, 10);
    }
    spots.counts.indptr.push_back(static_cast<std::int64_t>(spots.counts.values.size()));
  }
  return spots;
}

const std::vector<std::string> kPanel{"B", "A"};

TEST(TileMeans, AutoPoolsBinsAndTakesTheNearestSpot) {
  SpotTable spots = bins();
  EXPECT_EQ(resolve_mapping(SpotMapping::kAuto, spots, 10), SpotMapping::kPool);
  EXPECT_EQ(resolve_mapping(SpotMapping::kAuto, spots, 9), SpotMapping::kNearest);
  EXPECT_EQ(resolve_mapping(SpotMapping::kDistance, spots, 10), SpotMapping::kDistance);
  spots.pitch_px.reset();
  EXPECT_EQ(resolve_mapping(SpotMapping::kAuto, spots, 10), SpotMapping::kNearest);
}

TEST(TileMeans, PooledCountsAreAddedUpAndThenNormalised) {
  const SpotTable spots = bins();
  // Two tiles side by side: columns 0 and 1, and column 2 with nothing to its right.
  const std::vector<double> x{10, 30, 100}, y{10, 10, 10};
  SpotWeights weights = map_spots(spots, {x, y, 10}, {.mapping = SpotMapping::kPool});
  EXPECT_THAT(weights.spots, ElementsAre(0, 1, 3, 4, 2, 5));
  EXPECT_THAT(weights.weights, ElementsAre(0.25f, 0.25f, 0.25f, 0.25f, 0.5f, 0.5f));
  EXPECT_EQ(weights.spots_of(2), 0);
  TileMeans means(spots, match_genes(spots.counts.genes, {}, kPanel), weights, true);
  const std::vector<float> values = means.read(0, 3);
  EXPECT_FLOAT_EQ(values[1], static_cast<float>(std::log1p(1e4 * 8 / 48)));  // 0 + 1 + 3 + 4 of 8 + 40
  EXPECT_FLOAT_EQ(values[3], static_cast<float>(std::log1p(1e4 * 7 / 27)));
  EXPECT_EQ(values[0], 0);
  EXPECT_EQ(values[5], 0);
  EXPECT_THAT(means.read(1, 1), ElementsAre(0, values[3]));
}

TEST(TileMeans, ABinOnALineBelongsToOneTile) {
  SpotTable spots;
  spots.x = {20}, spots.y = {10}, spots.pitch_px = 5;
  const std::vector<double> x{10, 30}, y{10, 10};
  const SpotWeights weights = map_spots(spots, {x, y, 10}, {.mapping = SpotMapping::kPool});
  EXPECT_EQ(weights.spots_of(0), 0);
  EXPECT_EQ(weights.spots_of(1), 1);
}

TEST(TileMeans, SeparateSpotsAreNormalisedBeforeTheMean) {
  const SpotTable spots = bins();
  const std::vector<double> x{12, 25}, y{8, 21};
  const PanelMatch match = match_genes(spots.counts.genes, {}, kPanel);
  for (const auto mapping : {SpotMapping::kNearest, SpotMapping::kDistance, SpotMapping::kInterpolate}) {
    const SpotWeights weights = map_spots(spots, {x, y, 9}, {.mapping = mapping});
    const std::vector<float> expected = apply_weights(weights, match_panel(spots, kPanel).values, kPanel.size(), 0, 2);
    EXPECT_EQ(TileMeans(spots, match, weights, false).read(0, 2), expected) << to_string(mapping);
    EXPECT_GT(expected[1], 0);
  }
}

TEST(TileMeans, LogNormalisedValuesArePooledOnTheLinearScale) {
  SpotTable spots = bins();
  spots.log_normalized = true;
  const std::vector<double> x{30}, y{10};
  const SpotWeights weights = map_spots(spots, {x, y, 10}, {.mapping = SpotMapping::kPool});
  TileMeans means(spots, match_genes(spots.counts.genes, {}, kPanel), weights, true);
  EXPECT_FLOAT_EQ(means.read(0, 1)[1], static_cast<float>(std::log1p((std::expm1(2.0) + std::expm1(5.0)) / 2)));
}

TEST(SpotRadius, IsStatedOrTheArraysNeverGuessed) {
  SpotTable spots;
  EXPECT_FALSE(spot_radius(spots));
  spots.pitch_px = 100;
  EXPECT_FALSE(spot_radius(spots));
  spots.pitch_um = 100;
  EXPECT_DOUBLE_EQ(*spot_radius(spots), 27.5);
  spots.spot_diameter_px = 70;
  EXPECT_DOUBLE_EQ(*spot_radius(spots), 35);
}

TEST(SpotRecord, SaysWhichSpotsMadeATile) {
  const TemporaryFolder folder;
  const auto path = folder / "expression.h5ad";
  AnnData data;
  data.x.rows = 2;
  data.x.genes = {"A"};
  data.x.indptr = {0, 0, 0};
  data.obs.index = {"tile-0-0", "tile-2-0"};
  write_h5ad(path, data);
  EXPECT_FALSE(read_spot_record(path));
  const SpotWeights weights{{0, 2, 2}, {1, 2}, {0.75f, 0.25f}};
  const std::vector<std::string> names{"AAA-1", "CCC-1", "GGG-1"};
  add_spot_record(path, weights, names);
  const auto record = read_spot_record(path);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->names, names);
  EXPECT_EQ(record->weights.indptr, weights.indptr);
  EXPECT_EQ(record->weights.spots, weights.spots);
  EXPECT_EQ(record->weights.weights, weights.weights);
  EXPECT_EQ(read_h5ad(path).obs.index, data.obs.index);
  EXPECT_THROW(add_spot_record(path, {{0, 1}, {3}, {1}}, names), std::logic_error);
  EXPECT_EQ(error_of([&] { add_spot_record(folder / "none", weights, names); }).code(), ErrorCode::kOutput);
}

}  // namespace
}  // namespace vtissue::io
