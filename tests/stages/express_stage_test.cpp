#include "stages/express/express_stage.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "core/error.h"
#include "io/anndata.h"
#include "io/feature_store.h"
#include "io/spot_record.h"
#include "io/tile_store.h"
#include "stage_fixture.h"
#include "stages/express/express_config.h"

namespace vtissue::stages {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// Adds up what it is given, so that a test can tell which vectors came where: gene 0 the spot's first value,
/// gene 1 the sum of the sub-tiles' first values, gene 2 that of the neighbours, gene 3 their number.
class SummingPredictor : public models::ExpressionPredictor {
 public:
  explicit SummingPredictor(bool subtiles = true) : subtiles_(subtiles) {}
  const models::ModelInfo& info() const override { return info_; }
  const std::vector<std::string>& genes() const override { return genes_; }
  int feature_dim() const override { return 2; }
  bool uses_subtiles() const override { return subtiles_; }
  bool uses_neighbors() const override { return true; }
  const std::string& encoder_sha256() const override { return encoder_; }
  void predict(std::span<const float> spot, std::span<const float> sub, std::span<const float> neighbors,
               std::span<const std::int32_t> n_neighbors, int n, std::span<float> out) const override {
    ASSERT_EQ(spot.size(), static_cast<std::size_t>(2 * n));
    ASSERT_EQ(sub.size(), static_cast<std::size_t>(subtiles_ ? 18 * n : 0));
    ASSERT_EQ(neighbors.size(), static_cast<std::size_t>(16 * n));
    ASSERT_EQ(n_neighbors.size(), static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      out[4 * i] = spot[2 * i];
      out[4 * i + 1] = out[4 * i + 2] = 0;
      for (std::size_t k = 0; subtiles_ && k < 9; ++k) out[4 * i + 1] += sub[18 * i + 2 * k];
      for (std::size_t k = 0; k < 8; ++k) out[4 * i + 2] += neighbors[16 * i + 2 * k];
      out[4 * i + 3] = static_cast<float>(n_neighbors[i]);
    }
    ++calls;
  }
  models::ModelInfo info_{"summing", "test", "predictor-sha", 2};
  std::vector<std::string> genes_{"SPOT", "SUB", "AROUND", "COUNT"};
  std::string encoder_ = "encoder-sha";
  bool subtiles_;
  mutable int calls = 0;
};

class ExpressStageTest : public StageFixture {
 protected:
  void SetUp() override {
    StageFixture::SetUp();
    // 4 x 3 tiles of 100 level-0 pixels; cell (4, 2) is missing.
    tiles_.tile_px = 50;
    tiles_.target_mpp = 2;
    tiles_.source_mpp = 1;
    tiles_.mpp_source = "--mpp";
    tiles_.slide_size = {400, 300};
    tiles_.target_size = {200, 150};
    tiles_.slide_sha256 = std::string(64, 'a');
    for (int row = 0; row < 3; ++row) {
      for (int column = 0; column < 4; ++column) {
        if (column == 2 && row == 1) continue;
        tiles_.cells.push_back({2 * column, 2 * row});
        tiles_.tissue_fraction.push_back(1);
      }
    }
    tiles_.mask = {1};
    tiles_.mask_size = {1, 1};
    tiles_.mask_mpp = 400;
    io::write_tiles(file("tiles.h5"), tiles_);
  }

  std::size_t row_of(int column, int row) const {
    const TileCell cell{2 * column, 2 * row};
    return static_cast<std::size_t>(std::ranges::find(tiles_.cells, cell) - tiles_.cells.begin());
  }

  struct Spot {
    double x, y;
    std::array<int, 3> counts;
  };

  /// Legacy ST tables with genes A, B and MT.
  void write_spots(const std::vector<Spot>& spots) {
    std::ofstream counts(file("counts.tsv")), positions(file("spots.tsv"));
    counts << "\tA\tB\tMT\n";
    positions << "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n";
    for (std::size_t i = 0; i < spots.size(); ++i) {
      counts << i << "x1";
      for (const int count : spots[i].counts) counts << '\t' << count;
      counts << '\n';
      positions << i << "\t1\t" << i << "\t1\t" << spots[i].x << '\t' << spots[i].y << "\t1\n";
    }
  }

  /// The same as spots.h5ad.
  void write_h5ad_spots(const std::vector<Spot>& spots) {
    io::AnnData data;
    data.x.genes = {"A", "B", "MT"};
    data.x.indptr = {0};
    std::vector<double>& places = data.spatial.emplace();
    for (std::size_t i = 0; i < spots.size(); ++i) {
      places.push_back(spots[i].x), places.push_back(spots[i].y);
      for (std::size_t gene = 0; gene < 3; ++gene) {
        data.x.indices.push_back(static_cast<std::int32_t>(gene));
        data.x.values.push_back(static_cast<float>(spots[i].counts[gene]));
      }
      data.x.indptr.push_back(static_cast<std::int64_t>(data.x.values.size()));
      data.obs.index.push_back("s" + std::to_string(i));
    }
    data.x.rows = spots.size();
    data.var.index = data.x.genes;
    io::write_h5ad(file("spots.h5ad"), data);
  }

  pipeline::Bindings st_inputs() const {
    return {{"tiles", file("tiles.h5")}, {"st_counts", file("counts.tsv")}, {"st_spots", file("spots.tsv")}};
  }

  /// Features [tiles, vectors, 2]: the first value of vector v of tile i is 100 i + v.
  void write_features(const std::string& set, int vectors, std::vector<std::size_t> invalid = {},
                      const std::string& encoder = "encoder-sha", const std::string& slide = std::string(64, 'a')) {
    io::FeatureWriter writer(file("features.h5"), tiles_.cells, slide);
    writer.begin_set({set, "encoder", encoder, "tile", vectors, 2});
    std::vector<float> values;
    std::vector<std::uint8_t> valid(tiles_.cells.size(), 1);
    for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
      for (int v = 0; v < vectors; ++v) {
        values.push_back(static_cast<float>(100 * i) + static_cast<float>(v));
        values.push_back(-1);
      }
    }
    for (const std::size_t i : invalid) valid[i] = 0;
    writer.append(values, valid);
    writer.finish();
  }

  pipeline::Bindings predicted_inputs() const {
    return {{"tiles", file("tiles.h5")}, {"features", file("features.h5")}};
  }

  Outcome run_measured(const ExpressOptions& options = {}, std::vector<std::string> panel = {"A", "B"}) {
    return run(ExpressStage(options, std::move(panel), nullptr), st_inputs(), {{"expression", file("out.h5ad")}});
  }

  template <typename Work>
  void expect_error(Work work, ErrorCode code, const testing::Matcher<std::string>& message) {
    try {
      work();
      FAIL() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), code) << e.what();
      EXPECT_THAT(std::string(e.what()), message);
    }
  }

  static float value(const io::AnnData& table, std::size_t row, std::size_t gene) {
    for (auto i = table.x.indptr[row]; i < table.x.indptr[row + 1]; ++i) {
      if (table.x.indices[static_cast<std::size_t>(i)] == static_cast<std::int32_t>(gene)) {
        return table.x.values[static_cast<std::size_t>(i)];
      }
    }
    return 0;
  }

  std::vector<std::uint8_t> has_expression(const io::AnnData& table) const {
    return std::get<std::vector<std::uint8_t>>(*table.obs.find("has_expression"));
  }

  io::TileSet tiles_;
};

TEST_F(ExpressStageTest, MapsMeasuredSpotsToTiles) {
  write_spots({{50, 50, {10, 0, 990}}, {255, 45, {20, 20, 1960}}, {350, 250, {5, 5, 0}}});
  const Outcome outcome = run_measured({.measured = {.max_distance_um = 60}});
  const io::AnnData table = io::read_h5ad(file("out.h5ad"));
  EXPECT_THAT(table.x.genes, ElementsAre("A", "B"));
  ASSERT_EQ(table.x.rows, tiles_.cells.size());
  const std::vector<std::uint8_t> valid = has_expression(table);
  EXPECT_EQ(std::accumulate(valid.begin(), valid.end(), 0), 3);
  EXPECT_EQ(valid[row_of(0, 0)], 1);
  // Totals go over all genes of the file, also those that are not in the panel.
  EXPECT_NEAR(value(table, row_of(0, 0), 0), std::log1p(100.0), 1e-5);
  EXPECT_EQ(value(table, row_of(0, 0), 1), 0);
  EXPECT_NEAR(value(table, row_of(2, 0), 0), std::log1p(100.0), 1e-5);
  EXPECT_NEAR(value(table, row_of(3, 2), 1), std::log1p(5000.0), 1e-5);

  const auto& columns = std::get<std::vector<std::int64_t>>(*table.obs.find("cell_column"));
  const auto& rows = std::get<std::vector<std::int64_t>>(*table.obs.find("cell_row"));
  const auto& spots = std::get<std::vector<std::int64_t>>(*table.obs.find("n_spots"));
  for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
    EXPECT_EQ(columns[i], tiles_.cells[i].column);
    EXPECT_EQ(rows[i], tiles_.cells[i].row);
    EXPECT_EQ(spots[i], valid[i]);
    EXPECT_EQ((*table.spatial)[2 * i], 50 * tiles_.cells[i].column + 50);
    EXPECT_EQ((*table.spatial)[2 * i + 1], 50 * tiles_.cells[i].row + 50);
  }
  EXPECT_EQ(table.strings.at("source"), "st");
  EXPECT_EQ(table.strings.at("mapping"), "nearest");
  EXPECT_EQ(table.strings.at("slide_sha256"), tiles_.slide_sha256);
  EXPECT_EQ((*table.obs.strings("source"))[row_of(0, 0)], "st");
  EXPECT_EQ((*table.obs.strings("source"))[row_of(1, 0)], "none");
  EXPECT_EQ(outcome.reported["spots"], 3);
  EXPECT_EQ(outcome.reported["tiles_with_expression"], 3);
  EXPECT_EQ(outcome.reported["genes_matched"], 2);
}

TEST_F(ExpressStageTest, ReadsH5adSpots) {
  io::AnnData spots;
  spots.x = {.rows = 1, .genes = {"B", "MT"}, .indptr = {0, 2}, .indices = {0, 1}, .values = {30, 9970}};
  spots.obs.index = {"s0"};
  spots.var.index = spots.x.genes;
  spots.spatial = {50.0, 150.0};
  io::write_h5ad(file("spots.h5ad"), spots);
  run(ExpressStage({.measured = {.max_distance_um = 60}}, {"A", "B"}, nullptr),
      {{"tiles", file("tiles.h5")}, {"h5ad", file("spots.h5ad")}}, {{"expression", file("out.h5ad")}});
  const io::AnnData table = io::read_h5ad(file("out.h5ad"));
  EXPECT_NEAR(value(table, row_of(0, 1), 1), std::log1p(30.0), 1e-5);
  EXPECT_EQ(table.strings.at("source"), "h5ad");
}

TEST_F(ExpressStageTest, RecordsWhichSpotsMadeATile) {
  // The first lies outside the slide, the second has no counts: neither may be named, and rows stay those of the table.
  write_h5ad_spots({{-50, 50, {1, 1, 1}},
                    {150, 50, {0, 0, 0}},
                    {50, 50, {10, 0, 990}},
                    {55, 50, {10, 0, 990}},
                    {350, 250, {5, 5, 0}},
                    {330, 250, {5, 5, 0}}});
  run(ExpressStage({.measured = {.mapping = io::SpotMapping::kDistance, .max_distance_um = 20}}, {"A", "B"}, nullptr),
      {{"tiles", file("tiles.h5")}, {"h5ad", file("spots.h5ad")}}, {{"expression", file("out.h5ad")}});
  const auto record = io::read_spot_record(file("out.h5ad"));
  ASSERT_TRUE(record);
  EXPECT_THAT(record->names, ElementsAre("s0", "s1", "s2", "s3", "s4", "s5"));
  const auto spots_of = [&](int column, int row) {
    const std::size_t tile = row_of(column, row);
    std::vector<std::pair<std::string, float>> spots;
    for (auto i = record->weights.indptr[tile]; i < record->weights.indptr[tile + 1]; ++i) {
      const auto at = static_cast<std::size_t>(i);
      spots.emplace_back(record->names[static_cast<std::size_t>(record->weights.spots[at])],
                         record->weights.weights[at]);
    }
    return spots;
  };
  using testing::FloatNear;
  using testing::Pair;
  EXPECT_THAT(spots_of(0, 0),
              ElementsAre(Pair("s2", FloatNear(4 / 7.0f, 1e-6f)), Pair("s3", FloatNear(3 / 7.0f, 1e-6f))));
  EXPECT_THAT(spots_of(3, 2), ElementsAre(Pair("s4", 1.0f)));
  EXPECT_TRUE(spots_of(1, 0).empty());
}

TEST_F(ExpressStageTest, BinsSmallerThanATileArePooled) {
  io::AnnData spots;
  spots.x.genes = {"A", "MT"};
  spots.x.indptr = {0};
  std::vector<double>& places = spots.spatial.emplace();
  for (int i = 0; i < 100; ++i) {  // 40 px apart, 6.25 a tile
    places.push_back(20 + 40 * (i % 10)), places.push_back(20 + 40 * (i / 10) * 0.7);
    spots.x.indices.insert(spots.x.indices.end(), {0, 1});
    spots.x.values.insert(spots.x.values.end(), {static_cast<float>(i % 2 + 1), 98});
    spots.x.indptr.push_back(2 * (i + 1));
    spots.obs.index.push_back("bin" + std::to_string(i));
  }
  spots.x.rows = 100;
  spots.var.index = spots.x.genes;
  io::write_h5ad(file("spots.h5ad"), spots);
  const Outcome outcome =
      run(ExpressStage({}, {"A", "B"}, nullptr), {{"tiles", file("tiles.h5")}, {"h5ad", file("spots.h5ad")}},
          {{"expression", file("out.h5ad")}});
  EXPECT_EQ(outcome.reported["mapping"], "pool");
  EXPECT_THAT(outcome.warnings, testing::Contains(HasSubstr("1 of the 2 genes of the panel are not in the table")));
  EXPECT_EQ(outcome.reported["genes_missing"], nlohmann::json({"B"}));
  const io::AnnData table = io::read_h5ad(file("out.h5ad"));
  EXPECT_EQ(table.strings.at("mapping"), "pool");
  const auto record = io::read_spot_record(file("out.h5ad"));
  const std::size_t tile = row_of(0, 0);
  double count = 0, total = 0;
  for (int i = 0; i < 100; ++i) {
    if (places[static_cast<std::size_t>(2 * i)] >= 100 || places[static_cast<std::size_t>(2 * i + 1)] >= 100) continue;
    count += i % 2 + 1, total += i % 2 + 99;
  }
  EXPECT_GT(record->weights.spots_of(tile), 4);
  EXPECT_NEAR(value(table, tile, 0), std::log1p(1e4 * count / total), 1e-5);
}

TEST_F(ExpressStageTest, SpotsThatFitTheTissueMirroredAreRefused) {
  // Tissue in the left third alone.
  tiles_.mask_size = {40, 30};
  tiles_.mask_mpp = 10;
  tiles_.mask.assign(40 * 30, 0);
  for (std::size_t i = 0; i < tiles_.mask.size(); ++i) tiles_.mask[i] = i % 40 < 14 ? 1 : 0;
  io::write_tiles(file("tiles.h5"), tiles_);
  std::vector<Spot> right, wrong;
  for (int i = 0; i < 30; ++i) {
    const double x = 10 + 20 * (i % 6), y = 30 + 40 * (i / 6);
    right.push_back({x, y, {10, 10, i}});
    wrong.push_back({400 - x, y, {10, 10, i}});
  }
  const ExpressOptions options{.measured = {.mapping = io::SpotMapping::kNearest, .max_distance_um = 60}};
  write_h5ad_spots(right);
  const auto inputs = pipeline::Bindings{{"tiles", file("tiles.h5")}, {"h5ad", file("spots.h5ad")}};
  const auto run_h5ad = [&](const ExpressOptions& with) {
    return run(ExpressStage(with, {"A", "B"}, nullptr), inputs, {{"expression", file("out.h5ad")}});
  };
  EXPECT_EQ(run_h5ad(options).reported["alignment"]["spots_on_tissue"], 1);
  write_h5ad_spots(wrong);
  const auto message = AllOf(HasSubstr("spots.h5ad"), HasSubstr("spots fit when x is mirrored"),
                             HasSubstr("express.on_misalignment=warn"));
  expect_error([&] { run_h5ad(options); }, ErrorCode::kBadInput, message);
  expect_error([&] { ExpressStage(options, {"A", "B"}, nullptr).preflight(inputs); }, ErrorCode::kBadInput, message);
  ExpressOptions warn = options;
  warn.measured.refuse_misaligned = false;
  EXPECT_THAT(run_h5ad(warn).warnings, testing::Contains(HasSubstr("spots fit when x is mirrored")));
}

TEST_F(ExpressStageTest, SpotsWithoutCountsTakeNoPart) {
  write_spots({{50, 50, {0, 0, 0}}, {250, 50, {10, 10, 0}}});
  const Outcome outcome = run_measured({.measured = {.max_distance_um = 60}});
  const io::AnnData table = io::read_h5ad(file("out.h5ad"));
  EXPECT_EQ(has_expression(table)[row_of(0, 0)], 0);
  EXPECT_NEAR(value(table, row_of(2, 0), 0), std::log1p(5000.0), 1e-5);
  EXPECT_EQ(outcome.reported["spots_without_counts"], 1);
  EXPECT_THAT(outcome.warnings, testing::Contains(HasSubstr("1 of 2 spots have no counts")));
  EXPECT_THAT(outcome.warnings, testing::Contains(HasSubstr("median of 20 counts")));
}

TEST_F(ExpressStageTest, ReportsAFewSpotsOutsideAndRefusesMany) {
  // 200 µm apart, as legacy ST is.
  std::vector<Spot> spots;
  for (const double x : {-150, 50, 250}) spots.push_back({x, 50, {1, 1, 1}});
  for (const double x : {50, 250}) spots.push_back({x, 250, {1, 1, 1}});
  write_spots(spots);
  const Outcome outcome = run_measured();
  EXPECT_EQ(outcome.reported["spots_outside_slide"], 1);
  EXPECT_THAT(outcome.warnings, testing::Contains(HasSubstr("1 of 5 spots lie outside the slide")));
  for (Spot& spot : spots) spot.x += 1000;
  write_spots(spots);
  expect_error([&] { run_measured(); }, ErrorCode::kBadInput,
               AllOf(HasSubstr("counts.tsv"), HasSubstr("outside the slide")));
  expect_error([&] { ExpressStage({}, {"A"}, nullptr).preflight(st_inputs()); }, ErrorCode::kBadInput,
               HasSubstr("outside the slide"));
}

TEST_F(ExpressStageTest, ASpotJustOutsideTheSlideGivesNoTileItsExpression) {
  // The first lies 5 px left of the slide, nearer to the tile's centre than the reach of 60 px.
  write_spots({{-5, 50, {10, 10, 0}}, {250, 50, {10, 10, 0}}, {250, 250, {1, 1, 0}}, {50, 250, {1, 1, 0}}});
  const Outcome outcome = run_measured({.measured = {.max_distance_um = 60}});
  const io::AnnData table = io::read_h5ad(file("out.h5ad"));
  EXPECT_EQ(has_expression(table)[row_of(0, 0)], 0);
  EXPECT_EQ(value(table, row_of(0, 0), 0), 0);
  EXPECT_EQ(has_expression(table)[row_of(2, 0)], 1);
  EXPECT_EQ(outcome.reported["spots"], 4);
  EXPECT_EQ(outcome.reported["spots_outside_slide"], 1);
  EXPECT_EQ(outcome.reported["tiles_with_expression"], 3);
}

TEST_F(ExpressStageTest, RefusesSpotsOfAnotherScale) {
  write_spots({{50, 50, {1, 1, 1}}, {90, 50, {1, 1, 1}}});
  expect_error([&] { run_measured(); }, ErrorCode::kBadInput, AllOf(HasSubstr("counts.tsv"), HasSubstr("µm/px")));
}

TEST_F(ExpressStageTest, RefusesFewGenes) {
  write_spots({{50, 50, {1, 1, 1}}});
  const auto few = [&] { run_measured({}, {"A", "X1", "X2", "X3"}); };
  expect_error(few, ErrorCode::kBadInput, HasSubstr("counts.tsv"));
  const auto before = [&] { ExpressStage({}, {"A", "X1", "X2", "X3"}, nullptr).preflight(st_inputs()); };
  expect_error(before, ErrorCode::kBadInput, HasSubstr("counts.tsv"));
  EXPECT_NO_THROW(
      run_measured({.measured = {.max_distance_um = 60, .min_matched_genes = 0.25}}, {"A", "X1", "X2", "X3"}));
}

TEST_F(ExpressStageTest, RefusesSpotsThatReachNoTile) {
  write_spots({{250, 150, {1, 1, 1}}});  // only over the missing tile
  const auto far = [&] { run_measured({.measured = {.max_distance_um = 10}}); };
  expect_error(far, ErrorCode::kBadInput,
               AllOf(HasSubstr("none of the 1 spots"), HasSubstr("express.max_distance_um")));
}

TEST_F(ExpressStageTest, RefusesUnclearSources) {
  write_spots({{50, 50, {1, 1, 1}}});
  pipeline::Bindings two = st_inputs();
  two["visium"] = file("visium");
  const ExpressStage stage({}, {"A"}, nullptr);
  expect_error([&] { stage.preflight(two); }, ErrorCode::kUsage, HasSubstr("more than one"));
  pipeline::Bindings half = st_inputs();
  half.erase("st_spots");
  expect_error([&] { stage.preflight(half); }, ErrorCode::kUsage, HasSubstr("positions are missing"));
  expect_error([&] { stage.preflight({{"tiles", file("tiles.h5")}}); }, ErrorCode::kUsage, HasSubstr("no predictor"));
  const ExpressStage no_panel({}, {}, nullptr);
  expect_error([&] { no_panel.preflight(st_inputs()); }, ErrorCode::kModel, HasSubstr("gene encoder"));
}

TEST_F(ExpressStageTest, PredictsFromTileSubtilesAndNeighbours) {
  write_features("predictor", 10, {row_of(3, 2)});
  run(ExpressStage({}, {}, std::make_shared<SummingPredictor>()), predicted_inputs(),
      {{"expression", file("out.h5ad")}});
  const io::AnnData table = io::read_h5ad(file("out.h5ad"));
  EXPECT_THAT(table.x.genes, ElementsAre("SPOT", "SUB", "AROUND", "COUNT"));
  const std::size_t corner = row_of(0, 0);
  const auto first = [&](int column, int row) { return 100.0f * static_cast<float>(row_of(column, row)); };
  EXPECT_EQ(value(table, corner, 0), first(0, 0));
  EXPECT_EQ(value(table, corner, 1), 9 * first(0, 0) + 45);
  EXPECT_EQ(value(table, corner, 2), first(1, 0) + first(0, 1) + first(1, 1));
  EXPECT_EQ(value(table, corner, 3), 3);
  EXPECT_EQ(value(table, row_of(1, 1), 3), 7);  // one of eight is missing
  EXPECT_EQ(value(table, row_of(3, 1), 3), 3);  // of four in the slide, one is missing or has no embedding each
  EXPECT_EQ(has_expression(table)[row_of(3, 2)], 0);
  EXPECT_EQ(value(table, row_of(3, 2), 0), 0);
  EXPECT_EQ(table.strings.at("source"), "predicted");
  EXPECT_EQ(table.strings.at("predictor_sha256"), "predictor-sha");
}

TEST_F(ExpressStageTest, ChunksAndResumptionDoNotChangeTheBytes) {
  write_features("morphology", 1, {3});
  const auto predictor = std::make_shared<SummingPredictor>(false);
  const auto run_chunked = [&](int tiles, const std::string& name, const std::string& work) {
    run(ExpressStage({.chunk_tiles = tiles}, {}, predictor), predicted_inputs(), {{"expression", file(name)}}, work);
  };
  run_chunked(1000, "one.h5ad", "w1");
  run_chunked(2, "many.h5ad", "w2");
  EXPECT_EQ(read_bytes(file("one.h5ad")), read_bytes(file("many.h5ad")));
  predictor->calls = 0;
  run_chunked(2, "again.h5ad", "w2");
  EXPECT_EQ(predictor->calls, 0);
  EXPECT_EQ(read_bytes(file("one.h5ad")), read_bytes(file("again.h5ad")));
}

TEST_F(ExpressStageTest, RefusesFeaturesThatDoNotFitThePredictor) {
  const auto predictor = std::make_shared<SummingPredictor>();
  const ExpressStage stage({}, {}, predictor);
  write_features("morphology", 1);
  expect_error([&] { stage.preflight(predicted_inputs()); }, ErrorCode::kModel, HasSubstr("3x3 sub-tiles"));
  write_features("predictor", 10, {}, "another-sha");
  expect_error([&] { stage.preflight(predicted_inputs()); }, ErrorCode::kModel,
               AllOf(HasSubstr("another-sha"), HasSubstr("encoder-sha")));
  write_features("predictor", 10, {}, "encoder-sha", std::string(64, 'b'));
  expect_error([&] { stage.preflight(predicted_inputs()); }, ErrorCode::kBadInput,
               AllOf(HasSubstr("features.h5"), HasSubstr("another slide")));
  io::TileSet fewer = tiles_;
  write_features("predictor", 10);
  fewer.cells.pop_back();
  fewer.tissue_fraction.pop_back();
  io::write_tiles(file("tiles.h5"), fewer);
  expect_error([&] { stage.preflight(predicted_inputs()); }, ErrorCode::kBadInput, HasSubstr("other tiles"));
  EXPECT_NO_THROW(stage.preflight({}));
}

TEST_F(ExpressStageTest, MapsARealSection) {
  const auto counts = third_party("her2st/C5_counts.tsv.gz");
  const auto selection = third_party("her2st/C5_selection.tsv");
  if (!counts || !selection) GTEST_SKIP() << "needs VTISSUE_DATA with her2st";
  tiles_.source_mpp = 0.686;
  tiles_.target_mpp = 0.7;
  tiles_.tile_px = 128;
  tiles_.slide_size = {9272, 9911};
  tiles_.target_size = {9086, 9712};
  tiles_.cells.clear();
  tiles_.tissue_fraction.clear();
  for (int row = 0; row < 76; ++row) {
    for (int column = 0; column < 71; ++column) {
      tiles_.cells.push_back({2 * column, 2 * row});
      tiles_.tissue_fraction.push_back(1);
    }
  }
  io::write_tiles(file("tiles.h5"), tiles_);
  const Outcome outcome = run(ExpressStage({}, {"ERBB2", "ACTB", "CD74"}, nullptr),
                              {{"tiles", file("tiles.h5")}, {"st_counts", *counts}, {"st_spots", *selection}},
                              {{"expression", file("out.h5ad")}});
  EXPECT_EQ(outcome.reported["genes_matched"], 3);
  EXPECT_EQ(outcome.reported["spots_outside_slide"], 0);
  const int spots = outcome.reported["spots"];
  EXPECT_GT(spots, 150);
  // Spots of 100 µm, tiles of 90 µm: a spot reaches one tile for sure and some a few more.
  EXPECT_GE(outcome.reported["tiles_with_expression"].get<int>(), spots);
  EXPECT_LE(outcome.reported["tiles_with_expression"].get<int>(), 5 * spots);
}

TEST(ExpressOptions, EveryKeyChangesTheIdentityOfTheSourceItIsFor) {
  pipeline::ConfigSchema schema;
  schema.add(express_config_keys());
  const auto identity = [&](const char* assignment, bool measured) {
    pipeline::Config config = pipeline::Config::defaults(schema);
    if (*assignment) config.set(assignment);
    const auto predictor = measured ? nullptr : std::make_shared<SummingPredictor>();
    return ExpressStage(express_options(config), {"A"}, predictor).identity().dump();
  };
  std::set<std::string> measured = {identity("", true)}, predicted = {identity("", false)};
  for (const char* assignment :
       {"express.mapping=distance", "express.max_distance_um=80", "express.min_matched_genes=0.1", "express.bin_um=16",
        "express.on_misalignment=warn"}) {
    EXPECT_TRUE(measured.insert(identity(assignment, true)).second) << assignment;
    EXPECT_FALSE(predicted.insert(identity(assignment, false)).second) << assignment;
  }
  EXPECT_TRUE(predicted.insert(identity("express.chunk_tiles=2", false)).second);
  EXPECT_FALSE(measured.insert(identity("express.chunk_tiles=2", true)).second);
  EXPECT_EQ(measured.size() + predicted.size(), schema.keys().size() + 2);
  EXPECT_NE(ExpressStage({}, {"A"}, nullptr).identity(), ExpressStage({}, {"B"}, nullptr).identity());
}

}  // namespace
}  // namespace vtissue::stages
