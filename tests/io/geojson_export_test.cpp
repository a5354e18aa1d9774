#include "io/geojson_export.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/anndata.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string unpacked(const fs::path& path) {
  const gzFile file = gzopen(path.c_str(), "rb");
  std::string text;
  char buffer[4096];
  for (int got = 0; (got = gzread(file, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  gzclose(file);
  return text;
}

class TileGeoJsonTest : public testing::Test {
 protected:
  TileGeoJsonTest() {
    tiles_.tile_px = 50;
    tiles_.target_mpp = 1;
    tiles_.source_mpp = 0.5;
    tiles_.mpp_source = "--mpp";
    tiles_.slide_size = {230, 200};
    tiles_.target_size = {115, 100};
    tiles_.slide_sha256 = std::string(64, 'a');
    tiles_.mask = {1};
    tiles_.mask_size = {1, 1};
    tiles_.mask_mpp = 115;
    tiles_.cells = {{0, 0}, {2, 0}, {4, 2}};
    tiles_.tissue_fraction = {0.5f, 1, 0.25f};
    write_tiles(folder_ / "tiles.h5", tiles_);
  }

  void write_expression() const {
    AnnData table;
    table.x.rows = 3;
    table.x.genes = {"PMEL", "CD\"8A", "PMEL"};
    H5adWriter writer(folder_ / "e.h5ad", 3, 3);
    writer.append(std::vector<float>{1.5f, 0, 9, 0, 2.25f, 9, 7, 7, 9});
    table.obs.index = {"a", "b", "c"};
    table.obs.columns = {{"cell_column", std::vector<std::int64_t>{0, 2, 4}},
                         {"cell_row", std::vector<std::int64_t>{0, 0, 2}},
                         {"has_expression", std::vector<std::uint8_t>{1, 1, 0}},
                         {"n_spots", std::vector<std::int64_t>{2, 0, 0}},
                         {"source", std::vector<std::string>{"visium", "predicted", "none"}}};
    table.strings["slide_sha256"] = tiles_.slide_sha256;
    writer.finish(table);
  }

  json run(const GeoJsonOptions& options = {}, const fs::path& expression = {}, const char* name = "a.geojson") const {
    export_geojson(folder_ / "tiles.h5", expression, folder_ / name, options, [] { return false; });
    const bool packed = std::string(name).ends_with(".gz");
    return json::parse(packed ? unpacked(folder_ / name) : text_of(folder_ / name));
  }

  TemporaryFolder folder_;
  TileSet tiles_;
};

TEST_F(TileGeoJsonTest, APolygonATileInLevel0PixelsCutAtTheEdge) {
  const json seen = run();
  EXPECT_EQ(seen["type"], "FeatureCollection");
  ASSERT_EQ(seen["features"].size(), 3u);
  const json& last = seen["features"][2];
  EXPECT_EQ(last["type"], "Feature");
  EXPECT_EQ(last["geometry"]["type"], "Polygon");
  EXPECT_EQ(last["geometry"]["coordinates"], json::parse("[[[200,100],[230,100],[230,200],[200,200],[200,100]]]"));
  EXPECT_EQ(last["properties"]["objectType"], "tile");
  EXPECT_EQ(last["properties"]["name"], "tile-4-2");
  EXPECT_EQ(last["properties"]["classification"]["name"], "Tissue");
  EXPECT_EQ(last["properties"]["classification"]["color"].size(), 3u);
  EXPECT_EQ(last["properties"]["measurements"], json::parse(R"({"Tissue fraction": 0.25})"));
}

TEST_F(TileGeoJsonTest, ChosenGenesAndWhereTheyComeFrom) {
  write_expression();
  const json seen = run({.genes = {"CD\"8A", "PMEL"}}, folder_ / "e.h5ad");
  const auto properties = [&](std::size_t i) { return seen["features"][i]["properties"]; };
  EXPECT_EQ(properties(0)["measurements"],
            json::parse(R"({"Tissue fraction": 0.5, "Spots": 2, "CD\"8A": 0, "PMEL": 1.5})"));
  EXPECT_EQ(properties(1)["measurements"]["CD\"8A"], 2.25);
  EXPECT_EQ(properties(1)["classification"]["name"], "Predicted expression");
  EXPECT_EQ(properties(0)["classification"]["name"], "Measured expression");
  // No expression is no number, not a zero.
  EXPECT_FALSE(properties(2)["measurements"].contains("PMEL"));
  EXPECT_EQ(properties(2)["classification"]["name"], "No expression");
}

TEST_F(TileGeoJsonTest, DetectionsOfTheVirtualSlideWithMeasures) {
  GeoJsonOptions options{.detections = true, .space = GeoJsonSpace::kVirtual};
  options.measures = TileMeasures{{"a", "b"}, [](std::size_t i) -> std::vector<double> {
                                    return {static_cast<double>(i) + 0.5, i == 1 ? NAN : 1e-7};
                                  }};
  const json seen = run(options);
  EXPECT_EQ(seen["features"][2]["geometry"]["coordinates"],
            json::parse("[[[100,50],[115,50],[115,100],[100,100],[100,50]]]"));
  EXPECT_EQ(seen["features"][0]["properties"]["objectType"], "detection");
  EXPECT_EQ(seen["features"][1]["properties"]["measurements"], json::parse(R"({"Tissue fraction": 1, "a": 1.5})"));
  EXPECT_EQ(seen["features"][2]["properties"]["measurements"]["b"], 1e-7);
}

TEST_F(TileGeoJsonTest, OffsetsAreTakenOff) {
  const json seen = run({.offset = {30, 40}});
  EXPECT_EQ(seen["features"][1]["geometry"]["coordinates"][0][0], json::parse("[70,-40]"));
}

TEST_F(TileGeoJsonTest, PackedHoldsTheSameAndBytesAreEqual) {
  EXPECT_EQ(run({}, {}, "a.geojson.gz"), run());
  const std::string first = text_of(folder_ / "a.geojson.gz");
  run({}, {}, "b.geojson.gz");
  EXPECT_EQ(text_of(folder_ / "b.geojson.gz"), first);
  EXPECT_EQ(first.substr(0, 2), "\x1f\x8b");
}

TEST_F(TileGeoJsonTest, NamesWhatIsWrong) {
  write_expression();
  const Error gene = error_of([&] { run({.genes = {"MITF"}}, folder_ / "e.h5ad"); });
  EXPECT_EQ(gene.code(), ErrorCode::kUsage);
  EXPECT_THAT(gene.what(), HasSubstr("has no gene 'MITF' among its 3 (PMEL"));
  EXPECT_THAT(error_of([&] { run({.genes = {"MITF"}}); }).what(), HasSubstr("no expression.h5ad"));
  tiles_.cells[0] = {0, 1};
  std::ranges::sort(tiles_.cells);
  write_tiles(folder_ / "tiles.h5", tiles_);
  EXPECT_THAT(error_of([&] { run({}, folder_ / "e.h5ad"); }).what(), HasSubstr("e.h5ad: made for other tiles"));
  EXPECT_EQ(error_of([&] { run({}, {}, "no/a.geojson"); }).code(), ErrorCode::kOutput);
  EXPECT_EQ(error_of([&] {
              export_geojson(folder_ / "tiles.h5", {}, folder_ / "s.geojson", {}, [] { return true; });
            }).code(),
            ErrorCode::kInterrupted);
  EXPECT_FALSE(fs::exists(folder_ / "s.geojson"));
}

/// 60,000 tiles and 200 genes: a table of 48 MB, a text of 200 MB.
TEST_F(TileGeoJsonTest, MemoryDoesNotGrowWithTilesTimesGenes) {
  constexpr int kColumns = 300, kRows = 200, kGenes = 200;
  TileSet many = tiles_;
  many.slide_size = {kColumns * 100, kRows * 100};
  many.target_size = {kColumns * 50, kRows * 50};
  many.cells.clear();
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) many.cells.push_back({2 * column, 2 * row});
  }
  many.tissue_fraction.assign(many.cells.size(), 1);
  write_tiles(folder_ / "tiles.h5", many);
  {
    AnnData table;
    GeoJsonOptions options;
    std::vector<std::int64_t> columns, rows;
    for (const TileCell cell : many.cells) {
      table.obs.index.push_back(fmt::format("tile-{}-{}", cell.column, cell.row));
      columns.push_back(cell.column), rows.push_back(cell.row);
    }
    for (int gene = 0; gene < kGenes; ++gene) table.x.genes.push_back("G" + std::to_string(gene));
    H5adWriter writer(folder_ / "e.h5ad", many.cells.size(), kGenes);
    std::vector<float> row(kGenes);
    for (std::size_t i = 0; i < many.cells.size(); ++i) {
      for (std::size_t k = 0; k < row.size(); ++k) row[k] = static_cast<float>((i * 31 + k * 7) % 97) / 7;
      writer.append(row);
    }
    table.obs.columns = {{"cell_column", std::move(columns)}, {"cell_row", std::move(rows)}};
    writer.finish(table);
  }
  GeoJsonOptions options;
  for (int gene = 0; gene < kGenes; ++gene) options.genes.push_back("G" + std::to_string(gene));
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  EXPECT_EQ(
      export_geojson(folder_ / "tiles.h5", folder_ / "e.h5ad", folder_ / "a.geojson.gz", options, [] { return false; }),
      many.cells.size());
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 60 * 1024) << "kB";
  EXPECT_GT(fs::file_size(folder_ / "a.geojson.gz"), 1u << 20);
}

}  // namespace
}  // namespace vtissue::io
