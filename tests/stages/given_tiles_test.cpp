#include "stages/tile/given_tiles.h"

#include <gmock/gmock.h>

#include <cmath>
#include <random>

#include "stages/tile/tile_stage.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr Size<Level0Px> kSlide{20000, 12000};

/// As TRIDENT lays patches out: side and overlap are rounded to level-0 pixels, then multiplied.
io::PatchCoordinates trident(int side, int overlap, int columns = 12, int rows = 7) {
  io::PatchCoordinates given{.tool = io::PatchTool::kTrident, .side_px = static_cast<double>(side)};
  given.stride_px = side - overlap;
  given.slide_size = kSlide;
  for (int column = 0; column < columns; ++column) {
    for (int row = 0; row < rows; ++row) {
      if ((column * 3 + row) % 5 != 0) given.corners.push_back({column * (side - overlap), row * (side - overlap)});
    }
  }
  return given;
}

/// A store of the tiles, to ask for their places.
io::TileSet store_of(const GivenTiles& placed, double source_mpp, int tile_px) {
  io::TileSet tiles;
  tiles.tile_px = tile_px;
  tiles.source_mpp = source_mpp;
  tiles.target_mpp = placed.target_mpp;
  tiles.lattice = placed.lattice;
  tiles.cells = placed.cells;
  return tiles;
}

/// Every patch has a tile within `reach` level-0 pixels, and every tile its patch.
void expect_places(const io::PatchCoordinates& given, const GivenTiles& placed, double source_mpp, int tile_px,
                   double reach) {
  ASSERT_EQ(placed.cells.size(), given.corners.size());
  EXPECT_LE(placed.largest_shift_px, reach);
  const io::TileSet tiles = store_of(placed, source_mpp, tile_px);
  EXPECT_NEAR(tiles.level0_side(), given.side_px, 1e-9);
  const std::vector<std::size_t> rows = rows_of_tiles(given.corners, tiles, "p.h5");
  std::vector<std::uint8_t> seen(given.corners.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Point<Level0Px> at = tiles.level0_origin(placed.cells[i]), patch = given.corners[rows[i]];
    EXPECT_LE(std::abs(static_cast<double>(at.x - patch.x)), reach + 0.5);
    EXPECT_LE(std::abs(static_cast<double>(at.y - patch.y)), reach + 0.5);
    seen[rows[i]] = 1;
  }
  EXPECT_TRUE(std::ranges::all_of(seen, [](std::uint8_t s) { return s == 1; }));
}

TEST(GivenTiles, PatchesSideBySideAreTheBaseLattice) {
  // 256 px at a nominal 0.5 of a slide of 0.2525 µm/px: 507 level-0 pixels, no whole number of target pixels.
  for (const int side : {512, 507}) {
    const io::PatchCoordinates given = trident(side, 0);
    const GivenTiles placed = place_given_tiles(given, kSlide, 0.2525, 256, 0.5, "p.h5");
    EXPECT_FALSE(placed.lattice.has_value());
    EXPECT_NEAR(placed.target_mpp, 0.2525 * side / 256, 1e-12);
    for (const TileCell cell : placed.cells) EXPECT_EQ((cell.column | cell.row) & 1, 0);
    expect_places(given, placed, 0.2525, 256, 1e-6);
  }
}

TEST(GivenTiles, OnesOwnExportComesBackAsItWas) {
  // Rounded to level-0 pixels, which are more than half a target pixel.
  io::TileSet tiles;
  tiles.tile_px = 128;
  tiles.source_mpp = 0.5;
  tiles.target_mpp = 0.7;
  tiles.cells = {{0, 0}, {2, 0}, {30, 14}, {62, 40}};
  io::PatchCoordinates given{.tool = io::PatchTool::kClam, .side_px = 179};
  for (const TileCell cell : tiles.cells) given.corners.push_back(tiles.level0_origin(cell));
  const GivenTiles placed = place_given_tiles(given, kSlide, 0.5, 128, 0.7, "p.h5");
  EXPECT_FALSE(placed.lattice.has_value());
  EXPECT_EQ(placed.target_mpp, 0.7);
  EXPECT_EQ(placed.cells, tiles.cells);
  EXPECT_LE(placed.largest_shift_px, 0.5);
}

TEST(GivenTiles, HalfShiftedPatchesHaveOddCells) {
  io::PatchCoordinates given = trident(512, 0);
  for (auto& corner : given.corners) corner = {corner.x + 256, corner.y + 256};
  const GivenTiles placed = place_given_tiles(given, kSlide, 0.25, 256, 0.5, "p.h5");
  EXPECT_FALSE(placed.lattice.has_value());
  for (const TileCell cell : placed.cells) EXPECT_EQ((cell.column & 1) + (cell.row & 1), 2);
  expect_places(given, placed, 0.25, 256, 1e-6);
}

TEST(GivenTiles, OverlapIsALatticeOfItsStride) {
  const io::PatchCoordinates given = trident(512, 128);
  const GivenTiles placed = place_given_tiles(given, kSlide, 0.25, 256, 0.5, "p.h5");
  EXPECT_EQ(placed.lattice, (io::TileLattice{192, 96, {0, 0}}));
  expect_places(given, placed, 0.25, 256, 1e-6);
  const GivenTiles half = place_given_tiles(trident(512, 256), kSlide, 0.25, 256, 0.5, "p.h5");
  EXPECT_EQ(half.lattice, (io::TileLattice{128, 64, {0, 0}}));
}

TEST(GivenTiles, AContourOfClamBeginsAnywhere) {
  io::PatchCoordinates given{.tool = io::PatchTool::kClam, .side_px = 512};
  for (int column = 0; column < 6; ++column) {
    for (int row = 0; row < 5; ++row) given.corners.push_back({1003 + 512 * column, 2777 + 512 * row});
  }
  const GivenTiles one = place_given_tiles(given, kSlide, 0.25, 256, 0.5, "p.h5");
  ASSERT_TRUE(one.lattice.has_value());
  EXPECT_EQ(one.lattice->stride_px, 256);
  EXPECT_EQ(one.lattice->cell_px, 128);
  expect_places(given, one, 0.25, 256, 1.0);

  // A second contour has a lattice of its own: then tiles lie on single pixels, and keep their neighbours.
  for (int column = 0; column < 4; ++column) given.corners.push_back({8100 + 512 * column, 4001});
  const GivenTiles two = place_given_tiles(given, kSlide, 0.25, 256, 0.5, "p.h5");
  ASSERT_TRUE(two.lattice.has_value());
  EXPECT_EQ(two.lattice->cell_px, 1);
  expect_places(given, two, 0.25, 256, 1.0);
  const io::TileSet tiles = store_of(two, 0.25, 256);
  std::size_t beside = 0;
  for (const TileCell cell : tiles.cells) {
    beside += std::ranges::binary_search(tiles.cells, TileCell{cell.column + tiles.neighbour_cells(), cell.row});
  }
  EXPECT_EQ(beside, 5u * 5 + 3);
}

TEST(GivenTiles, AnyPlacesAtAll) {
  std::mt19937 random(7);
  io::PatchCoordinates given{.tool = io::PatchTool::kClam, .side_px = 731};
  for (int i = 0; i < 200; ++i) {
    given.corners.push_back({static_cast<std::int64_t>(random() % 19000), static_cast<std::int64_t>(random() % 11000)});
  }
  expect_places(given, place_given_tiles(given, kSlide, 0.25, 256, 0.7, "p.h5"), 0.25, 256, 731.0 / 256 / 2 + 1e-6);
}

TEST(GivenTiles, RefusesWhatIsNotOfTheSlideOrTheScale) {
  const auto message = [](const io::PatchCoordinates& given, double mpp = 0.5) {
    const Error error = error_of([&] { place_given_tiles(given, kSlide, 0.25, 256, mpp, "p.h5"); });
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    return std::string(error.what());
  };
  io::PatchCoordinates other = trident(512, 0);
  other.slide_size = {10000, 12000};
  EXPECT_THAT(message(other), HasSubstr("p.h5: made for a slide of 10000 x 12000 pixels, this one has 20000 x 12000"));
  io::PatchCoordinates beside = trident(512, 0);
  beside.corners[3] = {20000, 0};
  EXPECT_THAT(message(beside), HasSubstr("patch 3 at (20000, 0) of 512 px lies beside the slide"));
  EXPECT_THAT(message(trident(512, 0), 0.7),
              AllOf(HasSubstr("its patches are 128.0 µm wide"), HasSubstr("set tile.mpp = 0.5")));
  io::PatchCoordinates twice = trident(512, 0);
  twice.corners.push_back(twice.corners.front());
  EXPECT_THAT(message(twice), HasSubstr("two patches lie at one place"));
}

TEST(GivenTiles, SaysWhichTileHasNoRow) {
  const io::PatchCoordinates given = trident(512, 0);
  const GivenTiles placed = place_given_tiles(given, kSlide, 0.25, 256, 0.5, "p.h5");
  std::vector<Point<Level0Px>> fewer = given.corners;
  fewer.erase(std::ranges::find(fewer, Point<Level0Px>{1024, 512}));
  const Error error = error_of([&] { rows_of_tiles(fewer, store_of(placed, 0.25, 256), "f.h5"); });
  EXPECT_THAT(error.what(), HasSubstr(fmt::format("f.h5: has no features for 1 of {} tiles, the first of them at "
                                                  "(1024, 512)",
                                                  placed.cells.size())));
}

/// The stage over the fixture's slide of 4 x 3 squares of 128 px at 0.5 µm/px.
class GivenTilesStageTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(4, 3);
  }

  void write_coordinates(std::vector<Point<Level0Px>> corners, double scale = 1, int overlap = 0) const {
    io::PatchLayout layout{.name = "s", .patch_px = 128, .overlap_px = overlap, .scale = scale, .level0_mpp = kMpp};
    layout.slide_size = tiles_.slide_size;
    io::write_patch_coordinates(file("c.h5"), io::PatchTool::kTrident, layout, corners);
  }

  /// 3 x 2 mm of glass at 1 µm/px with a piece of tissue of 1.2 x 0.9 mm at (800, 500).
  void make_tissue() const {
    Canvas canvas(3000, 2000, {238, 232, 238});
    for (std::int64_t y = 500; y < 1400; ++y) {
      for (std::int64_t x = 800; x < 2000; ++x) {
        const bool nucleus = (x / 8 * 7 + y / 8 * 13) % 5 == 0;
        std::uint8_t* p = canvas.at(x, y);
        p[0] = nucleus ? 90 : 205, p[1] = nucleus ? 70 : 150, p[2] = nucleus ? 140 : 200;
      }
    }
    write_tiff(file("slide.tif"), canvas, 1.0);
  }

  Outcome tile(TileOptions options = {.size_px = 128, .mpp = kMpp}, const std::string& out = "t.h5") {
    return run(TileStage(options), {{"slide", file("slide.tif")}, {"coordinates", file("c.h5")}},
               {{"tiles", file(out)}});
  }
};

TEST_F(GivenTilesStageTest, TheTilesAreTheFiles) {
  write_coordinates({{128, 0}, {256, 128}, {0, 256}});
  const Outcome outcome = tile();
  const io::TileSet tiles = io::read_tiles(file("t.h5"));
  EXPECT_EQ(tiles.cells, (std::vector<TileCell>{{2, 0}, {4, 2}, {0, 4}}));
  EXPECT_FALSE(tiles.lattice.has_value());
  EXPECT_EQ(tiles.target_size, tiles_.target_size);
  EXPECT_EQ(outcome.reported["tiles"], 3);
  EXPECT_EQ(nlohmann::json::parse(tiles.settings)["coordinates_sha256"], sha256_file(file("c.h5")));
}

TEST_F(GivenTilesStageTest, AnotherScaleIsFollowedAndWarnedOf) {
  write_coordinates({{0, 0}, {134, 134}}, 134.0 / 128);
  const Outcome outcome = tile();
  const io::TileSet tiles = io::read_tiles(file("t.h5"));
  EXPECT_NEAR(tiles.target_mpp, 0.5 * 134 / 128, 1e-9);
  EXPECT_EQ(tiles.cells, (std::vector<TileCell>{{0, 0}, {2, 2}}));
  EXPECT_THAT(outcome.warnings, ::testing::Contains(HasSubstr("not tile.mpp = 0.5")));
}

TEST_F(GivenTilesStageTest, SynthesisRefusesWhatDoesNotLieSideBySide) {
  write_coordinates({{10, 0}, {202, 0}, {106, 96}}, 1, 32);
  tile();
  const io::TileSet tiles = io::read_tiles(file("t.h5"));
  ASSERT_TRUE(tiles.lattice.has_value());
  EXPECT_EQ(tiles.lattice->stride_px, 96);
  for (const auto& corner : {Point<Level0Px>{10, 0}, {202, 0}, {106, 96}}) {
    EXPECT_EQ(std::ranges::count(tiles.cells, corner, [&](TileCell cell) { return tiles.level0_origin(cell); }), 1);
  }
  const Error error = error_of([&] {
    TileStage({.size_px = 128, .mpp = kMpp, .for_synthesis = true})
        .preflight({{"slide", file("slide.tif")}, {"coordinates", file("c.h5")}});
  });
  EXPECT_THAT(error.what(), HasSubstr("c.h5: its patches do not lie side by side"));

  // And one who goes on all the same is told by synthesize.
  run(EmbedStage({}, models::make_null_morphology_encoder()), {{"slide", file("slide.tif")}, {"tiles", file("t.h5")}},
      {{"features", file("features.h5")}}, "embed");
  EXPECT_THAT(error_of([&] { synthesize(); }).what(), HasSubstr("tiles of 128 px every 96 px"));
}

TEST_F(GivenTilesStageTest, OverlappingGridsOfOnesOwn) {
  make_tissue();
  run(TileStage({.size_px = 128, .mpp = 1, .overlap_px = 64}), {{"slide", file("slide.tif")}},
      {{"tiles", file("t.h5")}});
  const io::TileSet tiles = io::read_tiles(file("t.h5"));
  EXPECT_EQ(tiles.lattice, (io::TileLattice{64, 32, {0, 0}}));
  EXPECT_GT(tiles.cells.size(), 12u * 12);
  for (const int wrong : {3, 128, 200}) EXPECT_THROW(TileStage({.size_px = 128, .overlap_px = wrong}), Error);
}

TEST_F(GivenTilesStageTest, HalfShiftedGridsAreSynthesizedTileByTile) {
  make_tissue();
  run(TileStage({.size_px = 128, .mpp = 1, .half_shift = true}), {{"slide", file("slide.tif")}},
      {{"tiles", file("t.h5")}});
  const io::TileSet tiles = io::read_tiles(file("t.h5"));
  EXPECT_FALSE(tiles.lattice.has_value());
  for (const TileCell cell : tiles.cells) EXPECT_EQ((cell.column & 1) + (cell.row & 1), 2);
  run(EmbedStage({}, models::make_null_morphology_encoder()), {{"slide", file("slide.tif")}, {"tiles", file("t.h5")}},
      {{"features", file("features.h5")}}, "embed");
  synthesize();
  const Error error = error_of([&] {
    run(SynthesizeStage({.steps = 4, .mode = SynthesisMode::kOverlap}, models::make_null_denoiser()),
        {{"features", file("features.h5")}}, {{"latents", file("l2")}}, "l2");
  });
  EXPECT_THAT(error.what(), HasSubstr("lies between those of the base grid"));
}

}  // namespace
}  // namespace vtissue::stages
