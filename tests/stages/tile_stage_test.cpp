#include "stages/tile/tile_stage.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "io/tile_store.h"
#include "stage_fixture.h"
#include "stages/tile/tile_config.h"
#include "stages/tile/tile_grid.h"
#include "stages/tile/tissue_config.h"

namespace vtissue::stages {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Every mask pixel's area that lies in a tile of the base grid, added up over all tiles, is its whole area.
TEST(TileGrid, EachTissuePixelIsInExactlyOneTile) {
  const TileGrid grid{.target_size = {301, 203}, .scale = 1.402, .tile_px = 32};
  const double mask_downsample = 5.5;
  const Size<LevelPx> mask_size{static_cast<std::int64_t>(301 * 1.402 / mask_downsample),
                                static_cast<std::int64_t>(203 * 1.402 / mask_downsample)};
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(mask_size.area()));
  double tissue = 0;
  for (std::size_t i = 0; i < mask.size(); ++i) tissue += mask[i] = (i * 2654435761u >> 7) % 3 == 0;
  const GridTiles tiles = choose_tiles(grid, mask, mask_size, mask_downsample);

  const double tile_area = std::pow(32 * 1.402 / mask_downsample, 2);
  double covered = 0;
  for (const float fraction : tiles.tissue_fraction) covered += fraction * tile_area;
  EXPECT_NEAR(covered, tissue, 1e-3 * tissue);

  std::set<std::pair<int, int>> seen;
  for (std::size_t i = 0; i < tiles.cells.size(); ++i) {
    const TileCell cell = tiles.cells[i];
    EXPECT_EQ(cell.column % 2, 0);
    EXPECT_EQ(cell.row % 2, 0);
    EXPECT_LT(cell.column / 2, grid.count().width);
    EXPECT_LT(cell.row / 2, grid.count().height);
    EXPECT_TRUE(seen.insert({cell.column, cell.row}).second);
    if (i > 0) {
      EXPECT_LT(tiles.cells[i - 1], cell);
    }
  }
}

TEST(TileGrid, CountsAreaByItsShare) {
  // Mask pixels of four target pixels; tiles of six: tile (1, 0) covers pixels 1.5 to 3.
  TileGrid grid{.target_size = {12, 6}, .scale = 1, .tile_px = 6};
  const std::vector<std::uint8_t> mask = {0, 1, 0, 0, 0, 0};
  const GridTiles tiles = choose_tiles(grid, mask, {3, 2}, 4);
  ASSERT_EQ(tiles.cells.size(), 2u);
  EXPECT_NEAR(tiles.tissue_fraction[0], 2.0 * 4 / 36, 1e-6);
  EXPECT_NEAR(tiles.tissue_fraction[1], 2.0 * 4 / 36, 1e-6);
  grid.min_tissue = 0.23;
  const GridTiles none = choose_tiles(grid, mask, {3, 2}, 4);
  EXPECT_TRUE(none.cells.empty());
  EXPECT_NEAR(none.best_fraction, 2.0 * 4 / 36, 1e-6);
}

TEST(TileGrid, FullTilesHaveFractionOneAndOverhangCountsAsEmpty) {
  const TileGrid grid{.target_size = {100, 40}, .scale = 0.7 / 0.499, .tile_px = 40, .min_tissue = 1};
  const std::vector<std::uint8_t> mask(20 * 8, 1);
  const GridTiles tiles = choose_tiles(grid, mask, {20, 8}, 5 * 0.7 / 0.499);
  ASSERT_EQ(tiles.cells.size(), 2u);  // the third reaches over the edge by half
  EXPECT_FLOAT_EQ(tiles.tissue_fraction[0], 1);
  EXPECT_FLOAT_EQ(tiles.tissue_fraction[1], 1);
}

TEST(TileGrid, RegionsThatPartTheSlidePartTheTiles) {
  TileGrid grid{.target_size = {200, 200}, .scale = 2, .tile_px = 20};
  const std::vector<std::uint8_t> mask(50 * 50, 1);
  const std::size_t all = choose_tiles(grid, mask, {50, 50}, 8).cells.size();
  grid.region = Box<Level0Px>{{0, 0}, {173, 400}};
  const std::size_t left = choose_tiles(grid, mask, {50, 50}, 8).cells.size();
  grid.region = Box<Level0Px>{{173, 0}, {227, 400}};
  EXPECT_EQ(left + choose_tiles(grid, mask, {50, 50}, 8).cells.size(), all);
  EXPECT_GT(left, 0u);
  EXPECT_LT(left, all);
}

class TileStageTest : public StageFixture {
 protected:
  /// 3 x 2 mm of glass at 1 µm/px with a piece of tissue of 1.2 x 0.9 mm at (800, 500).
  void make_slide(std::optional<double> mpp = 1.0, bool tissue = true) {
    Canvas canvas(3000, 2000, {238, 232, 238});
    if (tissue) {
      for (std::int64_t y = 500; y < 1400; ++y) {
        for (std::int64_t x = 800; x < 2000; ++x) {
          const bool nucleus = (x / 8 * 7 + y / 8 * 13) % 5 == 0;
          std::uint8_t* p = canvas.at(x, y);
          p[0] = nucleus ? 90 : 205, p[1] = nucleus ? 70 : 150, p[2] = nucleus ? 140 : 200;
        }
      }
    }
    write_tiff(file("slide.tif"), canvas, mpp);
  }

  Outcome run_stage(const TileOptions& options, const std::string& output = "tiles.h5") {
    return run(TileStage(options), {{"slide", file("slide.tif")}}, {{"tiles", file(output)}});
  }

  void expect_error(const TileOptions& options, ErrorCode code, const testing::Matcher<std::string>& message) {
    try {
      run_stage(options);
      FAIL() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), code) << e.what();
      EXPECT_THAT(std::string(e.what()), message);
    }
  }
};

TEST_F(TileStageTest, WritesTheTilesOfTheTissue) {
  make_slide();
  TileOptions options;
  options.size_px = 64;
  options.mpp = 2;
  const Outcome outcome = run_stage(options);
  const io::TileSet tiles = io::read_tiles(file("tiles.h5"));
  EXPECT_EQ(tiles.tile_px, 64);
  EXPECT_EQ(tiles.target_mpp, 2);
  EXPECT_NEAR(tiles.source_mpp, 1, 1e-6);
  EXPECT_EQ(tiles.slide_size, (Size<Level0Px>{3000, 2000}));
  EXPECT_EQ(tiles.target_size, (Size<TargetPx>{1500, 1000}));
  EXPECT_EQ(tiles.slide_sha256, sha256_file(file("slide.tif")));
  EXPECT_NEAR(tiles.mask_mpp, 8, 1e-6);
  // A tile covers 128 level-0 pixels: whole columns 7..14 and rows 4..9 lie in the tissue, 6 and 15 and 3 and 10
  // partly.
  const std::set<std::int32_t> columns = [&] {
    std::set<std::int32_t> set;
    for (const TileCell cell : tiles.cells) set.insert(cell.column);
    return set;
  }();
  EXPECT_EQ(*columns.begin(), 2 * 6);
  EXPECT_EQ(*columns.rbegin(), 2 * 15);
  for (std::size_t i = 0; i < tiles.cells.size(); ++i) {
    EXPECT_GE(tiles.tissue_fraction[i], 0.25f);
    const TileCell cell = tiles.cells[i];
    if (cell.column >= 14 && cell.column <= 28 && cell.row >= 8 && cell.row <= 18) {
      EXPECT_GT(tiles.tissue_fraction[i], 0.97f);
    }
  }
  EXPECT_EQ(outcome.reported["tiles"], tiles.cells.size());
  EXPECT_NEAR(outcome.reported["tissue_mm2"].get<double>(), 1.08, 0.04);
  EXPECT_TRUE(outcome.warnings.empty());
}

TEST_F(TileStageTest, EqualRunsGiveEqualBytes) {
  make_slide();
  run_stage({.mpp = 2}, "a.h5");
  run_stage({.mpp = 2}, "b.h5");
  EXPECT_EQ(read_bytes(file("a.h5")), read_bytes(file("b.h5")));
}

TEST_F(TileStageTest, RegionKeepsTilesWithTheirCentreInside) {
  make_slide();
  TileOptions options;
  options.size_px = 64;
  options.mpp = 2;
  options.region = Box<Level0Px>{{1000, 600}, {400, 300}};
  run_stage(options);
  const io::TileSet tiles = io::read_tiles(file("tiles.h5"));
  EXPECT_EQ(tiles.cells.size(), 3u * 2u);  // centres at 64 + 128 k: 1088, 1216, 1344 and 704, 832
  options.region = Box<Level0Px>{{5000, 0}, {10, 10}};
  expect_error(options, ErrorCode::kUsage, AllOf(HasSubstr("5000,0,10,10"), HasSubstr("3000 x 2000")));
  options.region = Box<Level0Px>{{0, 0}, {500, 300}};
  expect_error(options, ErrorCode::kBadInput, AllOf(HasSubstr("no tile in the region"), HasSubstr("tile.min_tissue")));
}

TEST_F(TileStageTest, AsksForMissingMpp) {
  make_slide(std::nullopt);
  expect_error({}, ErrorCode::kBadInput, AllOf(HasSubstr("slide.tif"), HasSubstr("--mpp")));
  TileOptions options;
  options.mpp = 1;
  options.slide_mpp = 0.5;
  run_stage(options);
  const io::TileSet tiles = io::read_tiles(file("tiles.h5"));
  EXPECT_EQ(tiles.source_mpp, 0.5);
  EXPECT_EQ(tiles.mpp_source, "--mpp");
}

TEST_F(TileStageTest, RefusesWhatCannotWork) {
  make_slide();
  TileOptions finer;
  finer.mpp = 0.5;
  expect_error(finer, ErrorCode::kUsage, AllOf(HasSubstr("slide.tif"), HasSubstr("finer")));
  TileOptions huge;
  huge.mpp = 16;
  expect_error(huge, ErrorCode::kBadInput, AllOf(HasSubstr("187 x 125"), HasSubstr("one tile of 128 px")));
  TileOptions odd;
  odd.size_px = 65;
  expect_error(odd, ErrorCode::kUsage, HasSubstr("65"));
  EXPECT_THROW(TileStage(finer).preflight({{"slide", file("slide.tif")}}), Error);
  EXPECT_NO_THROW(TileStage({.mpp = 1}).preflight({}));
}

TEST_F(TileStageTest, SaysThatThereIsNoTissue) {
  make_slide(1.0, false);
  TileOptions options;
  options.mpp = 2;
  expect_error(options, ErrorCode::kBadInput,
               AllOf(HasSubstr("slide.tif: no tissue found"), HasSubstr("3.0 x 2.0 mm"), HasSubstr("(238, 232, 238)"),
                     HasSubstr("--mpp")));
}

TEST_F(TileStageTest, StopsWhenAsked) {
  make_slide();
  std::stop_source stop;
  stop.request_stop();
  try {
    run(TileStage({.mpp = 2}), {{"slide", file("slide.tif")}}, {{"tiles", file("tiles.h5")}}, "work", stop.get_token());
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInterrupted);
  }
  EXPECT_FALSE(std::filesystem::exists(file("tiles.h5")));
}

TEST_F(TileStageTest, KeepsWithinAnnotations) {
  make_slide();
  const auto write = [&](const std::string& name, const std::string& text) { std::ofstream(file(name)) << text; };
  const auto area = [](int left, int top, int right, int bottom, const std::string& name) {
    return fmt::format(
        R"({{"type":"Feature","geometry":{{"type":"Polygon","coordinates":[[[{0},{1}],[{2},{1}],[{2},{3}],
      [{0},{3}],[{0},{1}]]]}},"properties":{{"objectType":"annotation","classification":{{"name":"{4}"}}}}}})",
        left, top, right, bottom, name);
  };
  // Half of the tissue at (800, 500) .. (2000, 1400), and a part of that taken out again.
  write("a.geojson", "[" + area(0, 0, 1400, 2000, "Tumor") + "," + area(1000, 500, 1400, 1400, "Necrosis") + "]");
  TileOptions options;
  options.mpp = 2;
  options.size_px = 32;
  const auto run_within = [&](const std::string& output) {
    return run(TileStage(options), {{"slide", file("slide.tif")}, {"annotations", file("a.geojson")}},
               {{"tiles", file(output)}});
  };
  Outcome outcome = run_within("all.h5");
  EXPECT_NEAR(outcome.reported["tissue_mm2"].get<double>(), 0.54, 0.03);
  EXPECT_NEAR(outcome.reported["annotations"]["included_mm2"].get<double>(), 2.8, 0.02);
  options.tissue.annotations = {.include = {"Tumor"}, .exclude = {"Necrosis"}};
  outcome = run_within("parts.h5");
  EXPECT_NEAR(outcome.reported["tissue_mm2"].get<double>(), 0.18, 0.03);
  for (const TileCell cell : io::read_tiles(file("parts.h5")).cells) {
    EXPECT_LT(cell.column * 32, 1010);  // half tiles of 32 level-0 pixels
  }
  options.tissue.annotations = {.exclude = {"Necrosis"}};
  EXPECT_NEAR(run_within("rest.h5").reported["tissue_mm2"].get<double>(), 0.72, 0.04);

  expect_error(options, ErrorCode::kUsage, AllOf(HasSubstr("there are no annotations"), HasSubstr("--annotations")));
  EXPECT_THROW(TileStage(options).preflight({{"slide", file("slide.tif")}}), Error);
  options.tissue.annotations = {};
  write("a.geojson", "[" + area(2200, 100, 2900, 1900, "Tumor") + "]");
  try {
    run_within("none.h5");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("a.geojson"), HasSubstr("none of the 1.1"), HasSubstr("tissue.preset none")));
  }
  options.tissue.preset.method = TissueMethod::kNone;
  EXPECT_NEAR(run_within("as_is.h5").reported["tissue_mm2"].get<double>(), 0.7 * 1.8, 0.02);
}

TEST_F(TileStageTest, TakesTheTissueFromAMaskPicture) {
  make_slide();
  Canvas mask(300, 200, {0, 0, 0});
  for (std::int64_t y = 0; y < 100; ++y) {
    for (std::int64_t x = 0; x < 150; ++x) std::fill_n(mask.at(x, y), 3, std::uint8_t{1});
  }
  write_tiff(file("mask.tif"), mask, std::nullopt);
  const Outcome outcome = run(TileStage({.mpp = 2}), {{"slide", file("slide.tif")}, {"tissue_mask", file("mask.tif")}},
                              {{"tiles", file("a.h5")}});
  EXPECT_NEAR(outcome.reported["tissue_mm2"].get<double>(), 1.5, 0.01);
  try {
    run(TileStage({.mpp = 2}), {{"slide", file("slide.tif")}, {"tissue_mask", file("none.tif")}},
        {{"tiles", file("a.h5")}});
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("none.tif: no such file"));
  }
}

TEST_F(TileStageTest, ReportsArtifactsAndLeavesOutWhatIsAsked) {
  make_slide();
  Canvas canvas(3000, 2000, {238, 232, 238});
  const std::string bytes = read_bytes(file("slide.tif"));
  std::copy(bytes.end() - static_cast<std::ptrdiff_t>(canvas.rgb.size()), bytes.end(), canvas.rgb.begin());
  for (std::int64_t y = 800; y < 1000; ++y) {  // green ink across the tissue
    for (std::int64_t x = 500; x < 2500; ++x)
      canvas.at(x, y)[0] = 25, canvas.at(x, y)[1] = 120, canvas.at(x, y)[2] = 60;
  }
  write_tiff(file("slide.tif"), canvas, 1.0);
  TileOptions options;
  options.mpp = 2;
  options.size_px = 32;
  const Outcome out = run_stage(options, "out.h5");
  EXPECT_THAT(out.warnings, testing::ElementsAre(AllOf(HasSubstr("pen marks (green)"), HasSubstr("left out"))));
  EXPECT_TRUE(out.reported["artifacts"]["pen"]["excluded"].get<bool>());
  EXPECT_EQ(out.reported["artifacts"]["blur"]["of_tissue"], 0);
  options.tissue.exclude.clear();
  const Outcome kept = run_stage(options, "kept.h5");
  EXPECT_THAT(kept.warnings, testing::ElementsAre(AllOf(HasSubstr("pen marks"), HasSubstr("kept (tissue.exclude"))));
  EXPECT_GT(kept.reported["tissue_mm2"].get<double>(), out.reported["tissue_mm2"].get<double>() + 0.2);
  const io::TileSet tiles = io::read_tiles(file("kept.h5"));
  ASSERT_EQ(tiles.artifacts.size(), 3u);
  for (std::size_t i = 0; i < tiles.cells.size(); ++i) {
    const std::int64_t top = tiles.cells[i].row * 32, left = tiles.cells[i].column * 32;  // level-0 pixels
    const float pen = tiles.artifacts.at("pen")[i];
    if (top >= 800 && top + 64 <= 1000 && left >= 500 && left + 64 <= 2500) {
      EXPECT_EQ(pen, 1);
    }
    if (top + 64 < 740 || top > 1060) {
      EXPECT_EQ(pen, 0);
    }
  }
  for (const TileCell cell : io::read_tiles(file("out.h5")).cells)
    EXPECT_FALSE(cell.row * 32 >= 800 && cell.row * 32 <= 936);
}

TEST_F(TileStageTest, SaysWhenTheArtifactsAreAllThereIs) {
  make_slide(1.0, false);
  Canvas canvas(3000, 2000, {238, 232, 238});
  for (std::int64_t y = 500; y < 1400; ++y) {
    for (std::int64_t x = 800; x < 2000; ++x) {
      const auto grain = static_cast<std::uint8_t>((x / 8 * 7 + y / 8 * 13) % 5 == 0 ? 0 : 90);
      canvas.at(x, y)[0] = 20, canvas.at(x, y)[1] = static_cast<std::uint8_t>(110 + grain), canvas.at(x, y)[2] = 60;
    }
  }
  write_tiff(file("slide.tif"), canvas, 1.0);
  expect_error({.mpp = 2}, ErrorCode::kBadInput, AllOf(HasSubstr("tissue.exclude"), HasSubstr("pen")));
}

class TileConfigTest : public testing::Test {
 protected:
  TileConfigTest() {
    schema_.add(tile_config_keys());
    schema_.add(tissue_config_keys());
  }
  TileOptions options(std::initializer_list<const char*> assignments) const {
    pipeline::Config config = pipeline::Config::defaults(schema_);
    for (const char* assignment : assignments) config.set(assignment);
    return tile_options(config);
  }
  pipeline::ConfigSchema schema_;
};

TEST_F(TileConfigTest, EveryKeyChangesTheIdentity) {
  const auto identity = [&](std::initializer_list<const char*> assignments) {
    return TileStage(options(assignments)).identity().dump();
  };
  std::set<std::string> identities = {identity({})};
  EXPECT_EQ(*identities.begin(), TileStage({}).identity().dump());
  const char* assignments[] = {"tile.size_px=64",
                               "tile.mpp=0.5",
                               "tile.min_tissue=0.5",
                               "tile.slide_mpp=0.25",
                               "tile.region=[0,0,10,10]",
                               "tissue.preset=none",
                               "tissue.mpp=4",
                               "tissue.min_area_um2=1000",
                               "tissue.min_hole_um2=1000",
                               "tissue.exclude=[blur]",
                               "tissue.include_classes=[Tumor]",
                               "tissue.exclude_classes=[Tumor]",
                               "tissue.annotations_origin=bounds",
                               "tile.overlap_px=16",
                               "tile.shift=half",
                               "tile.min_inside=0.5",
                               "tile.icc=srgb"};
  for (const char* assignment : assignments) {
    EXPECT_TRUE(identities.insert(identity({assignment})).second) << assignment;
  }
  for (const char* assignment : {"tissue.sthresh=9", "tissue.mthresh=5", "tissue.close=3", "tissue.use_otsu=true",
                                 "tissue.a_t=7", "tissue.a_h=7", "tissue.max_n_holes=1"}) {
    EXPECT_TRUE(identities.insert(identity({"tissue.preset=clam", assignment})).second) << assignment;
  }
  // The three files are inputs, whose contents count.
  EXPECT_EQ(identities.size(), schema_.keys().size() + 1 - 3);
  EXPECT_THROW(identity({"tile.region=[0,0,10]"}), Error);
  EXPECT_THROW(identity({"tile.region=[0,0,0,10]"}), Error);
}

TEST_F(TileConfigTest, SingleValuesReplaceThoseOfAPreset) {
  const TissuePreset tcga = options({"tissue.preset=clam_tcga", "tissue.sthresh=20"}).tissue.preset;
  EXPECT_EQ(tcga.method, TissueMethod::kClam);
  EXPECT_EQ(tcga.clam, (ClamOptions{20, 7, 4, false, 16, 4, 8}));
  EXPECT_EQ(options({"tissue.preset=hest"}).tissue.preset.areas.min_hole_um2, 320'000);
  EXPECT_EQ(options({"tissue.preset=hest", "tissue.min_hole_um2=5"}).tissue.preset.areas.min_hole_um2, 5);
  EXPECT_EQ(options({}).tissue.preset.areas.min_area_um2, 50'000);
  EXPECT_EQ(options({"tissue.exclude=[blur, pen]"}).tissue.exclude, (std::vector{Artifact::kPen, Artifact::kBlur}));
  EXPECT_TRUE(options({"tissue.exclude=[]"}).tissue.exclude.empty());
}

TEST_F(TileConfigTest, ValuesThatThePresetDoesNotHaveAreRefused) {
  const auto refusal = [&](std::initializer_list<const char*> assignments) -> std::string {
    try {
      options(assignments);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage);
      return e.what();
    }
    return "no error";
  };
  EXPECT_THAT(refusal({"tissue.a_t=3"}),
              AllOf(HasSubstr("tissue.a_t"), HasSubstr("preset default"), HasSubstr("clam")));
  EXPECT_THAT(refusal({"tissue.preset=clam", "tissue.min_area_um2=3"}), HasSubstr("a_t, a_h"));
  EXPECT_THAT(refusal({"tissue.preset=clam", "tissue.mthresh=8"}), HasSubstr("is odd"));
  EXPECT_THAT(refusal({"tissue.preset=clan"}), HasSubstr("'clam'"));
  EXPECT_THAT(refusal({"tissue.exclude=[pens]"}), HasSubstr("'pen'"));
}

}  // namespace
}  // namespace vtissue::stages
