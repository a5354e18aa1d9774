#include "stages/perturb/region.h"

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RegionTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    for (int row = 0; row < 4; ++row) {
      for (int column = 0; column < 4; ++column) tiles_.cells.push_back({2 * column, 2 * row});
    }
    tiles_.tile_px = 100;
    tiles_.source_mpp = 0.5;
    tiles_.target_mpp = 1;  // a tile is 200 level-0 pixels wide
    tiles_.slide_size = {800, 800};
    tiles_.target_size = {400, 400};
  }
  std::filesystem::path write(const std::string& text) {
    std::ofstream(file("region.geojson")) << text;
    return file("region.geojson");
  }
  std::vector<std::size_t> tiles_in(const std::string& text, RegionOptions options = {}) {
    return region_tiles(tiles_, options, write(text));
  }
  static std::string polygon(const std::string& rings) { return R"({"type":"Polygon","coordinates":[)" + rings + "]}"; }
  static inline const std::string kTopLeft = "[[0,0],[400,0],[400,400],[0,400],[0,0]]";
};

TEST_F(RegionTest, EveryFormOfGeoJsonThatViewersWriteIsRead) {
  const std::string geometry = polygon(kTopLeft);
  const std::string feature = R"({"type":"Feature","properties":{"a":1},"geometry":)" + geometry + "}";
  for (const std::string& text :
       {geometry, feature, "[" + feature + "]", R"({"type":"FeatureCollection","features":[)" + feature + "]}",
        R"({"type":"GeometryCollection","geometries":[)" + geometry + "]}",
        R"({"type":"MultiPolygon","coordinates":[[)" + kTopLeft + "]]}"}) {
    EXPECT_THAT(tiles_in(text), ElementsAre(0, 1, 4, 5)) << text;
  }
}

TEST_F(RegionTest, HolesAreNotInIt) {
  EXPECT_THAT(tiles_in(polygon("[[0,0],[800,0],[800,800],[0,800]],[[200,200],[600,200],[600,600],[200,600]]")),
              ElementsAre(0, 1, 2, 3, 4, 7, 8, 11, 12, 13, 14, 15));
}

TEST_F(RegionTest, PixelsMayBeTheVirtualSlides) {
  RegionOptions options{.of_virtual = true};
  EXPECT_EQ(tiles_in(polygon(kTopLeft), options).size(), 16u);
  options.box = {0, 0, 100, 400};
  EXPECT_THAT(region_tiles(tiles_, options, std::nullopt), ElementsAre(0, 4, 8, 12));
}

TEST_F(RegionTest, TilesAreNamedByTheirCell) {
  RegionOptions options{.cells = {{2, 0}, {6, 6}}};
  EXPECT_THAT(region_tiles(tiles_, options, std::nullopt), ElementsAre(1, 15));
  options.cells = {{3, 0}};
  EXPECT_THAT(error_of([&] { region_tiles(tiles_, options, std::nullopt); }).what(), HasSubstr("tile 3,0 is none"));
}

TEST_F(RegionTest, WhatIsNoRegionIsNamed) {
  const auto message = [&](const std::string& text) { return std::string(error_of([&] { tiles_in(text); }).what()); };
  EXPECT_THAT(message("{"), HasSubstr("region.geojson"));
  EXPECT_THAT(message(R"({"type":"Point","coordinates":[1,2]})"), HasSubstr("no polygon"));
  EXPECT_THAT(message(R"({"type":"FeatureCollection","features":[]})"), HasSubstr("no polygon"));
  EXPECT_THAT(message(polygon("[[9000,9000],[9100,9000],[9100,9100]]")), HasSubstr("--region-of"));
  EXPECT_THAT(error_of([&] { region_tiles(tiles_, {}, file("none")); }).what(), HasSubstr("none"));
  EXPECT_TRUE(tiles_in(R"({"type":"FeatureCollection","features":[]})", {.may_be_empty = true}).empty());
}

TEST_F(RegionTest, BoxesAndTilesOfTheCommandLine) {
  EXPECT_EQ(parse_region_box("1,2,3,4.5"), (std::array<double, 4>{1, 2, 3, 4.5}));
  EXPECT_EQ(parse_region_box("region.geojson"), std::nullopt);
  EXPECT_EQ(parse_region_box("1,2,3"), std::nullopt);
  EXPECT_THROW(parse_region_box("1,2,0,4"), Error);
  EXPECT_EQ(parse_tile("12,8"), (TileCell{12, 8}));
  for (const char* text : {"", "1", "1,2,3", "-1,2", "1.5,2", "a,b"}) EXPECT_THROW(parse_tile(text), Error) << text;
}

TEST_F(RegionTest, AroundTheRegionAreARingThatIsDrawnAndARimThatIsSeen) {
  RegionOptions options{.cells = {{0, 0}}};
  const RegionExtent extent = region_extent(tiles_, options, std::nullopt);
  EXPECT_THAT(extent.region, ElementsAre(0));
  EXPECT_THAT(extent.drawn, ElementsAre(0, 1, 4, 5));
  EXPECT_THAT(extent.rim, ElementsAre(2, 6, 8, 9, 10));
  EXPECT_THAT(extent.seen(), ElementsAre(0, 1, 2, 4, 5, 6, 8, 9, 10));
  tiles_.cells.back().column = 7;
  EXPECT_THROW(region_extent(tiles_, options, std::nullopt), Error);
}

}  // namespace
}  // namespace vtissue::stages
