#include "stages/encode/encode_stage.h"

#include <gmock/gmock.h>

#include "io/anndata.h"
#include "io/feature_store.h"
#include "stages/encode/encode_config.h"
#include "stages/encode/gene_matching.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// cls: the values themselves; tokens: gene g of row i is the vector filled with value + 100 (g + 1).
class EchoEncoder : public models::GeneEncoder {
 public:
  const models::ModelInfo& info() const override { return info_; }
  const std::vector<std::string>& genes() const override { return genes_; }
  int dim() const override { return 3; }
  void encode(std::span<const float> values, int n, std::span<float> cls, std::span<float> tokens) const override {
    ASSERT_EQ(values.size(), static_cast<std::size_t>(n) * 3);
    std::ranges::copy(values, cls.begin());
    for (std::size_t k = 0; k < tokens.size(); ++k) {
      tokens[k] = values[k / 3] + 100 * static_cast<float>(k / 3 % 3 + 1);
    }
  }

 private:
  models::ModelInfo info_{"echo", "test", "cc", 2};
  std::vector<std::string> genes_{"MITF", "CD8A", "KRT5"};
};

class EncodeStageTest : public SynthesisFixture {
 protected:
  /// Three tiles; X is `values` [3, genes]; the second tile is without expression.
  void write_table(const std::vector<std::string>& genes, const std::vector<float>& values, bool with_valid,
                   const std::string& slide_sha256 = {}) {
    io::AnnData table;
    if (!slide_sha256.empty()) table.strings["slide_sha256"] = slide_sha256;
    table.x.rows = 3;
    table.x.genes = genes;
    table.x.indptr = {0};
    for (std::size_t k = 0; k < values.size(); ++k) {
      if (values[k] != 0) {
        table.x.indices.push_back(static_cast<std::int32_t>(k % genes.size()));
        table.x.values.push_back(values[k]);
      }
      if (k % genes.size() == genes.size() - 1)
        table.x.indptr.push_back(static_cast<std::int64_t>(table.x.values.size()));
    }
    table.obs.index = {"a", "b", "c"};
    table.obs.columns = {{"cell_column", std::vector<std::int64_t>{0, 2, 0}},
                         {"cell_row", std::vector<std::int64_t>{0, 0, 2}}};
    if (with_valid) table.obs.columns.emplace_back("has_expression", std::vector<std::uint8_t>{1, 0, 1});
    table.var.index = genes;
    io::write_h5ad(file("expression.h5ad"), table);
  }
  pipeline::Bindings inputs() const { return {{"expression", file("expression.h5ad")}}; }
  pipeline::Bindings output(const std::string& name) const { return {{"genes", file(name)}}; }
};

TEST_F(EncodeStageTest, GenesAreMatchedBySymbol) {
  write_table({"KRT5", "OTHER", "MITF"}, {1, 9, 2, 0, 0, 0, 3, 9, 0}, false);
  const Outcome outcome = run(EncodeStage({}, std::make_shared<EchoEncoder>()), inputs(), output("genes.h5"));
  const io::FeatureReader reader(file("genes.h5"));
  EXPECT_EQ(reader.cells(), (std::vector<TileCell>{{0, 0}, {2, 0}, {0, 2}}));
  ASSERT_EQ(reader.sets().size(), 1u);
  std::vector<float> values;
  std::vector<std::uint8_t> valid;
  reader.read("cls", 0, 3, values, valid);
  EXPECT_THAT(values, ElementsAre(2, 0, 1, 0, 0, 0, 0, 0, 3));  // MITF, CD8A (missing), KRT5
  EXPECT_THAT(valid, ElementsAre(1, 0, 1));
  EXPECT_EQ(outcome.reported["genes_matched"], 2);
  EXPECT_EQ(outcome.reported["tiles_with_expression"], 2);
  ASSERT_EQ(outcome.warnings.size(), 1u);
  EXPECT_THAT(outcome.warnings[0], HasSubstr("1 of the 3 genes"));
}

TEST_F(EncodeStageTest, TheTablesSlideIsPassedOn) {
  write_table({"MITF", "CD8A", "KRT5"}, {1, 2, 3, 4, 5, 6, 7, 8, 9}, true, std::string(64, 'c'));
  run(EncodeStage({}, std::make_shared<EchoEncoder>()), inputs(), output("genes.h5"));
  EXPECT_EQ(io::FeatureReader(file("genes.h5")).slide_sha256(), std::string(64, 'c'));
}

TEST_F(EncodeStageTest, TokensAreASetOfTheirOwn) {
  write_table({"MITF", "CD8A", "KRT5"}, {1, 2, 3, 4, 5, 6, 7, 8, 9}, true);
  run(EncodeStage({.tokens = true}, std::make_shared<EchoEncoder>()), inputs(), output("genes.h5"));
  const io::FeatureReader reader(file("genes.h5"));
  EXPECT_EQ(reader.info("tokens").vectors, 3);
  std::vector<float> values;
  std::vector<std::uint8_t> valid;
  reader.read("tokens", 2, 1, values, valid);
  EXPECT_THAT(values, ElementsAre(107, 107, 107, 208, 208, 208, 309, 309, 309));
  reader.read("tokens", 1, 1, values, valid);
  EXPECT_THAT(valid, ElementsAre(0));
  EXPECT_THAT(values, ::testing::Each(0.0f));
  reader.read("cls", 2, 1, values, valid);
  EXPECT_THAT(values, ElementsAre(7, 8, 9));
}

TEST_F(EncodeStageTest, TooFewGenesAreNamed) {
  write_table({"ENSG1", "MITF"}, {1, 2, 3, 4, 5, 6}, true);
  const EncodeStage stage({}, std::make_shared<EchoEncoder>());
  const Error error = error_of([&] { stage.preflight(inputs()); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("has 1 of the 3 genes that echo reads (33 %), encode.min_matched_genes is 50 %"));
  EncodeStage({.min_matched_genes = 0.3}, std::make_shared<EchoEncoder>()).preflight(inputs());
}

TEST_F(EncodeStageTest, RefusesATableThatIsNotOfTiles) {
  io::AnnData table;
  table.x = {.rows = 1, .genes = {"MITF"}, .indptr = {0, 0}};
  table.obs.index = {"spot"};
  table.var.index = {"MITF"};
  io::write_h5ad(file("expression.h5ad"), table);
  const EncodeStage stage({}, std::make_shared<EchoEncoder>());
  const Error error = error_of([&] { stage.preflight(inputs()); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("express stage"));
}

TEST_F(EncodeStageTest, BytesDoNotDependOnScheduling) {
  write_table({"MITF", "CD8A", "KRT5"}, {1, 2, 3, 4, 5, 6, 7, 8, 9}, true);
  const EncodeStage stage({.tokens = true, .chunk_tiles = 1}, std::make_shared<EchoEncoder>());
  for (const int in_flight : {1, 3, 8}) {
    const std::string n = std::to_string(in_flight);
    run_with(stage, inputs(), output(n + ".h5"), "work" + n, in_flight);
    EXPECT_EQ(read_bytes(file(n + ".h5")), read_bytes(file("1.h5")));
  }
}

TEST(GeneMatchingTest, TheFirstOfTwoColumnsWithOneSymbolCounts) {
  const std::vector<std::string> wanted = {"A", "B"};
  const std::vector<std::string> columns = {"B", "C", "B"};
  const GeneMatch match = match_genes(wanted, columns);
  EXPECT_THAT(match.gene_of_column, ElementsAre(1, -1, -1));
  EXPECT_EQ(match.matched, 1u);
  EXPECT_EQ(match.duplicates, 1u);
  EXPECT_DOUBLE_EQ(match.fraction(), 0.5);
}

TEST(EncodeConfigTest, Defaults) {
  pipeline::ConfigSchema schema;
  schema.add(encode_config_keys());
  EXPECT_DOUBLE_EQ(encode_options(pipeline::Config::defaults(schema)).min_matched_genes, 0.5);
}

}  // namespace
}  // namespace vtissue::stages
