// expression.h5ad as Python's packages see it.

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "io/anndata.h"
#include "io/spot_record.h"
#include "io/tile_store.h"
#include "stage_fixture.h"
#include "stages/express/express_stage.h"

namespace vtissue::stages {
namespace {

/// The Python of tools/get-test-readers.sh, whatever its number; empty if there is none.
std::string readers_python() {
  const char* cache = std::getenv("VTISSUE_CACHE");
  const char* home = std::getenv("HOME");
  const std::filesystem::path folder =
      cache != nullptr ? cache : std::filesystem::path(home != nullptr ? home : "/") / ".cache/vtissue";
  std::string newest;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string path = entry.path().string();
    if (!entry.path().filename().string().starts_with("test-readers-") ||
        !std::filesystem::exists(entry.path() / "complete")) {
      continue;
    }
    newest = std::max(newest, path);
  }
  return newest.empty() ? "" : newest + "/bin/python";
}

/// Two rows of three tiles, with spots on the first and the last.
class ExpressionReadersTest : public StageFixture {
 protected:
  static std::string python() {
    const char* chosen = std::getenv("VTISSUE_TEST_PYTHON");
    return chosen != nullptr ? chosen : readers_python();
  }
  void express();
  /// What tests/stages/open_h5ad.py says of the table, null and a failure if it fails.
  nlohmann::json opened(const std::string& more) const;
};

void ExpressionReadersTest::express() {
  io::TileSet tiles;
  tiles.tile_px = 50;
  tiles.target_mpp = 2;
  tiles.source_mpp = 1;
  tiles.mpp_source = "--mpp";
  tiles.slide_size = {300, 200};
  tiles.target_size = {150, 100};
  tiles.slide_sha256 = std::string(64, 'a');
  for (int row = 0; row < 2; ++row) {
    for (int column = 0; column < 3; ++column) {
      tiles.cells.push_back({2 * column, 2 * row});
      tiles.tissue_fraction.push_back(1);
    }
  }
  tiles.mask = {1};
  tiles.mask_size = {1, 1};
  tiles.mask_mpp = 400;
  io::write_tiles(file("tiles.h5"), tiles);
  io::AnnData spots;
  spots.x = {.rows = 2,
             .genes = {"CD8A", "MT", "PMEL"},
             .indptr = {0, 2, 5},
             .indices = {0, 1, 0, 1, 2},
             .values = {30, 9970, 1, 8, 1}};
  spots.obs.index = {"AAAC-1", "µ-spot"};
  spots.var.index = spots.x.genes;
  spots.spatial = {{60.5, 50, 240, 150}};
  io::write_h5ad(file("spots.h5ad"), spots);
  run(ExpressStage({.measured = {.mapping = io::SpotMapping::kDistance, .max_distance_um = 60}}, {"PMEL", "CD8A"},
                   nullptr),
      {{"tiles", file("tiles.h5")}, {"h5ad", file("spots.h5ad")}}, {{"expression", file("out.h5ad")}});
}

nlohmann::json ExpressionReadersTest::opened(const std::string& more) const {
  const std::string command =
      python() + " " + VTISSUE_SOURCE_DIR + "/tests/stages/open_h5ad.py " + file("out.h5ad").string() + more;
  std::string text;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return nullptr;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text.push_back(static_cast<char>(c));
  EXPECT_EQ(::pclose(pipe), 0) << text;
  return nlohmann::json::parse(text, nullptr, false);
}

TEST_F(ExpressionReadersTest, AnndataSeesTilesGenesPlacesAndSpots) {
  if (python().empty()) GTEST_SKIP() << "no second set of readers (tools/get-test-readers.sh)";
  express();
  const nlohmann::json all = opened("");
  ASSERT_TRUE(all.is_object());
  const nlohmann::json& seen = all.at("anndata");
  EXPECT_EQ(seen["shape"], nlohmann::json({6, 2})) << all["version"];
  EXPECT_EQ(seen["var_names"], nlohmann::json({"PMEL", "CD8A"}));
  EXPECT_EQ(seen["obs_names"][5], "tile-4-2");
  // (x, y) of the tiles' centres in full-resolution pixels.
  const nlohmann::json places = {{50, 50}, {150, 50}, {250, 50}, {50, 150}, {150, 150}, {250, 150}};
  EXPECT_EQ(seen["spatial"], places);
  EXPECT_EQ(seen["obs"]["has_expression"], nlohmann::json({true, false, false, false, false, true}));
  EXPECT_EQ(seen["obs"]["n_spots"], nlohmann::json({1, 0, 0, 0, 0, 1}));
  EXPECT_NEAR(seen["x"][0][1].get<double>(), std::log1p(30.0), 1e-5);
  EXPECT_NEAR(seen["x"][5][0].get<double>(), std::log1p(1000.0), 1e-5);
  EXPECT_EQ(seen["spots"][0], nlohmann::json::parse(R"([["AAAC-1", 1.0]])"));
  EXPECT_EQ(seen["spots"][5], nlohmann::json::parse(R"([["µ-spot", 1.0]])"));
  EXPECT_EQ(seen["spots"][1], nlohmann::json::array());
  EXPECT_EQ(seen["uns"]["mapping"], "distance");
  if (!all["scanpy"].is_null()) {
    EXPECT_NEAR(all["scanpy"]["total_counts"][0].get<double>(), std::log1p(30.0), 1e-5);
    EXPECT_GT(all["scanpy"]["edges"], 0);
  }
}

TEST_F(ExpressionReadersTest, SquidpySeesNeighbouringTiles) {
  if (python().empty()) GTEST_SKIP() << "no second set of readers (tools/get-test-readers.sh)";
  express();
  const nlohmann::json seen = opened(" squidpy");
  if (seen.is_null()) GTEST_SKIP() << "no squidpy among the readers (tools/get-test-readers.sh spatial)";
  // Each tile has those beside it for neighbours, on a grid and by distance.
  EXPECT_EQ(seen["grid"], nlohmann::json::parse("[[0,1,0,1,0,0],[1,0,1,0,1,0],[0,1,0,0,0,1],"
                                                "[1,0,0,0,1,0],[0,1,0,1,0,1],[0,0,1,0,1,0]]"));
  EXPECT_EQ(seen["near"], 14);
  EXPECT_TRUE(seen["moran"]["PMEL"].is_number());
}

}  // namespace
}  // namespace vtissue::stages
