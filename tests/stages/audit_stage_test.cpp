#include "stages/audit/audit_stage.h"

#include <gmock/gmock.h>

#include <fstream>

#include "io/anndata.h"
#include "io/feature_store.h"
#include "models/null_engines.h"
#include "stages/audit/choose_stage.h"
#include "stages/perturb/region.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(LowerFence, IsBelowTheQuartilesByTheirDistance) {
  EXPECT_EQ(lower_fence({1, 2, 3}), std::nullopt);
  EXPECT_EQ(lower_fence({5, 1, 2, 3, 4, 0, 6, 7}), 2 - 1.5 * 4);
}

TEST(TouchingGroups, CornersTouchAndOneTileApartDoesNot) {
  const std::vector<TileCell> cells = {{0, 0}, {4, 0}, {2, 2}, {8, 2}, {12, 2}};
  const std::vector<std::size_t> all = {0, 1, 2, 3, 4};
  EXPECT_THAT(touching_groups(cells, all), ElementsAre(ElementsAre(0, 1, 2), ElementsAre(3), ElementsAre(4)));
  EXPECT_TRUE(touching_groups(cells, {}).empty());
}

class AuditStageTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(6, 5);
  }
  /// Embeddings of two numbers; that of tile 4 is turned by `turned`.
  void write_features(const std::string& name, bool turned, const std::string& encoder = "sha") {
    io::FeatureWriter writer(file(name), tiles_.cells, tiles_.slide_sha256);
    writer.begin_set(
        {.name = "morphology", .encoder = "e", .encoder_sha256 = encoder, .geometry = "tile", .vectors = 1, .dim = 2});
    for (std::size_t k = 0; k < tiles_.cells.size(); ++k) {
      const std::vector<float> row = {turned && k == 4 ? -1.0f : 1.0f, 0.01f * static_cast<float>(k)};
      writer.append(row, std::vector<std::uint8_t>(1, 1));
    }
    writer.finish();
  }
  /// Three genes; the second is high everywhere. With `opposite` the deviations of the tiles have the other sign.
  void write_expression_of(const std::string& name, bool opposite) {
    io::AnnData table;
    table.x.genes = table.var.index = {"A", "HIGH", "B", "C"};
    table.x.indptr = {0};
    table.x.rows = tiles_.cells.size();
    std::vector<std::int64_t> columns, rows;
    for (std::size_t k = 0; k < tiles_.cells.size(); ++k) {
      const float step = (opposite ? -1.0f : 1.0f) * (k % 2 == 0 ? 0.5f : -0.5f);
      const float values[] = {1 + step, 9, 1 - step, 1 + (k % 3 == 0 ? step : 0.1f * step)};
      for (std::int32_t g = 0; g < 4; ++g) {
        table.x.indices.push_back(g);
        table.x.values.push_back(values[g]);
      }
      table.x.indptr.push_back(static_cast<std::int64_t>(table.x.values.size()));
      table.obs.index.push_back("t" + std::to_string(k));
      columns.push_back(tiles_.cells[k].column);
      rows.push_back(tiles_.cells[k].row);
    }
    table.obs.columns = {{"cell_column", columns}, {"cell_row", rows}};
    io::write_h5ad(file(name), table);
  }
  nlohmann::json audit(const pipeline::Bindings& more, AuditOptions options = {}) {
    pipeline::Bindings inputs = more;
    inputs["tiles"] = file("tiles.h5");
    run(AuditStage(options), inputs,
        {{"report", file("m.json")},
         {"table", file("a.tsv")},
         {"morphology_map", file("m.png")},
         {"expression_map", file("e.png")},
         {"failing", file("f.geojson")}});
    return nlohmann::json::parse(read_bytes(file("m.json")));
  }
};

TEST_F(AuditStageTest, ATileThatDoesNotDoWhatWasAskedFailsAndIsNamedAsARegion) {
  write_features("asked.h5", false);
  write_features("seen.h5", true);
  std::ofstream(file("metrics.json")) << R"({"frechet_distance": 3})";
  const nlohmann::json metrics =
      audit({{"features", file("asked.h5")}, {"features_seen", file("seen.h5")}, {"metrics", file("metrics.json")}});
  EXPECT_EQ(metrics["frechet_distance"], 3);
  const nlohmann::json& fidelity = metrics["condition_fidelity"];
  EXPECT_EQ(fidelity["failing_tiles"], 1);
  EXPECT_LT(fidelity["morphology_cosine"]["least"].get<double>(), -0.9);
  EXPECT_NEAR(fidelity["morphology_cosine"]["median"].get<double>(), 1, 1e-9);
  EXPECT_TRUE(fidelity["expression_correlation"].is_null());
  EXPECT_THAT(region_tiles(tiles_, {}, file("f.geojson")), ElementsAre(4));
  EXPECT_EQ(audit({{"features", file("asked.h5")}, {"features_seen", file("seen.h5")}},
                  {.least_cosine = -1.0})["condition_fidelity"]["failing_tiles"],
            0);
}

TEST_F(AuditStageTest, AgreementOfExpressionIsThatOfDeviationsNotOfHighGenes) {
  write_expression_of("asked.h5ad", false);
  write_expression_of("same.h5ad", false);
  write_expression_of("opposite.h5ad", true);
  const auto correlation = [&](const char* seen) {
    return audit({{"expression", file("asked.h5ad")}, {"expression_seen", file(seen)}})["condition_fidelity"];
  };
  EXPECT_NEAR(correlation("same.h5ad")["expression_correlation"]["median"].get<double>(), 1, 1e-6);
  EXPECT_LT(correlation("opposite.h5ad")["expression_correlation"]["median"].get<double>(), -0.9);
  EXPECT_EQ(correlation("same.h5ad")["genes_compared"], 3);  // HIGH does not vary
}

TEST_F(AuditStageTest, StoresOfOtherEncodersOrTilesAreRefused) {
  write_features("asked.h5", false);
  write_features("seen.h5", false, "other");
  EXPECT_THAT(error_of([&] {
                audit({{"features", file("asked.h5")}, {"features_seen", file("seen.h5")}});
              }).what(),
              HasSubstr("one encoder"));
  std::ofstream(file("metrics.json")) << "[]";
  EXPECT_THAT(error_of([&] { audit({{"metrics", file("metrics.json")}}); }).what(), HasSubstr("are no metrics"));
}

}  // namespace
}  // namespace vtissue::stages
