#include "stages/spot_grid/spot_grid_stage.h"

#include <gmock/gmock.h>

#include "io/anndata.h"
#include "io/feature_store.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::HasSubstr;

/// A square array of `columns` x `rows` spots, `pitch` apart, the first at (pitch, pitch).
io::SpotTable square_array(int columns, int rows, double pitch) {
  io::SpotTable spots;
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; ++column) {
      spots.x.push_back(pitch * (column + 1));
      spots.y.push_back(pitch * (row + 1));
    }
  }
  spots.pitch_px = pitch;
  return spots;
}

TEST(SpotGrid, NeighbouringSpotsLeaveNoHole) {
  io::SpotTable spots = square_array(6, 5, 200);
  SpotGridOptions options{.size_px = 100, .mpp = 0.5, .spot_mpp = 1};  // tiles of 50 µm, spots 200 µm apart
  const io::TileSet tiles = tiles_from_spots(spots, options, "table");
  // Every tile whose centre lies between the outermost spots.
  for (int row = 4; row < 20; ++row) {
    for (int column = 4; column < 24; ++column) {
      EXPECT_TRUE(std::ranges::binary_search(tiles.cells, TileCell{2 * column, 2 * row})) << column << "," << row;
    }
  }
  EXPECT_FALSE(std::ranges::binary_search(tiles.cells, TileCell{0, 0}));
  EXPECT_EQ(tiles.target_size.width % 100, 0);
  EXPECT_TRUE(tiles.slide_sha256.empty());
}

TEST(SpotGrid, TheScaleComesFromTheCommandTheTableOrThePitch) {
  io::SpotTable spots = square_array(4, 4, 100);
  const auto mpp = [&](SpotGridOptions options) { return tiles_from_spots(spots, options, "table").source_mpp; };
  EXPECT_THAT(error_of([&] { mpp({}); }).what(), HasSubstr("--mpp"));
  spots.pitch_um = 200;
  EXPECT_EQ(mpp({}), 2);
  spots.mpp = 1.5;
  EXPECT_EQ(mpp({}), 1.5);
  EXPECT_EQ(mpp({.spot_mpp = 0.5}), 0.5);
}

TEST(SpotGrid, ImpossiblePlacesAreRefused) {
  io::SpotTable spots = square_array(4, 4, 100);
  const SpotGridOptions options{.spot_mpp = 1};
  spots.x[3] = -5;
  EXPECT_THAT(error_of([&] { tiles_from_spots(spots, options, "table"); }).what(), HasSubstr("left of or above"));
  spots.x[3] = 1e12;
  EXPECT_THAT(error_of([&] { tiles_from_spots(spots, options, "table"); }).what(), HasSubstr("check --mpp"));
  io::SpotTable one = square_array(1, 1, 100);
  one.pitch_px.reset();
  EXPECT_THAT(error_of([&] { tiles_from_spots(one, options, "table"); }).what(), HasSubstr("pitch"));
}

}  // namespace
}  // namespace vtissue::stages
