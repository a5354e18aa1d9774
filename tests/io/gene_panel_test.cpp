#include "io/gene_panel.h"

#include <gmock/gmock.h>

#include <cmath>

#include "store_test_support.h"

namespace vtissue::io {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::HasSubstr;
using testing::IsEmpty;

/// Two spots; the second one is empty. Counts 1, 2, 3 … for the genes of the first.
SpotTable spots_of(std::vector<std::string> genes, std::vector<std::string> ids = {}) {
  SpotTable spots;
  spots.barcodes = {"a", "b"};
  spots.counts.rows = 2;
  for (std::size_t gene = 0; gene < genes.size(); ++gene) {
    spots.counts.indices.push_back(static_cast<std::int32_t>(gene));
    spots.counts.values.push_back(static_cast<float>(gene + 1));
  }
  const auto n = static_cast<std::int64_t>(genes.size());
  spots.counts.indptr = {0, n, n};
  spots.counts.genes = std::move(genes);
  spots.counts.gene_ids = std::move(ids);
  return spots;
}

TEST(GenePanel, TotalsAreTakenOverAllGenesOfTheFile) {
  const std::vector<std::string> panel{"CD8A", "NONE", "PMEL"};
  const PanelExpression result = match_panel(spots_of({"PMEL", "MLANA", "CD8A"}), panel);
  EXPECT_EQ(result.spots, 2u);
  EXPECT_THAT(result.totals, ElementsAre(6, 0));
  EXPECT_FLOAT_EQ(result.values[0], static_cast<float>(std::log1p(3 * 1e4 / 6)));
  EXPECT_EQ(result.values[1], 0.0f);
  EXPECT_FLOAT_EQ(result.values[2], static_cast<float>(std::log1p(1e4 / 6)));
  EXPECT_THAT(std::vector<float>(result.values.begin() + 3, result.values.end()), testing::Each(0.0f));
  EXPECT_THAT(result.counts, ElementsAre(3, 0, 1, 0, 0, 0));
  EXPECT_THAT(result.missing, ElementsAre("NONE"));
  EXPECT_EQ(result.matched_by, "symbol");
  EXPECT_NEAR(result.matched_fraction(), 2.0 / 3, 1e-12);
}

TEST(GenePanel, ColumnsOfOneGeneAreAddedUp) {
  const std::vector<std::string> panel{"TBCE"};
  EXPECT_THAT(match_panel(spots_of({"TBCE", "PMEL", "TBCE"}), panel).counts, ElementsAre(4, 0));
}

TEST(GenePanel, EnsemblPanelsMatchIdsWithoutVersions) {
  const std::vector<std::string> panel{"ENSG00000185664", "ENSG00000153563.12"};
  const auto by_column = match_panel(spots_of({"PMEL", "CD8A"}, {"ENSG00000185664.9", "ENSG00000153563.3"}), panel);
  EXPECT_THAT(by_column.counts, ElementsAre(1, 2, 0, 0));
  EXPECT_EQ(by_column.matched_by, "Ensembl id");
  EXPECT_THAT(match_panel(spots_of({"ENSG00000153563.3", "ENSG00000185664"}), panel).counts, ElementsAre(2, 1, 0, 0));
  EXPECT_THAT(match_panel(spots_of({"PMEL", "CD8A"}), panel).hint, HasSubstr("Ensembl"));
  const std::vector<std::string> symbols{"PMEL", "CD8A"};
  EXPECT_THAT(match_panel(spots_of({"ENSG00000153563", "ENSG00000185664"}), symbols).hint, HasSubstr("by Ensembl id"));
}

TEST(GenePanel, CaseIsIgnoredOnlyWhereItHelps) {
  const std::vector<std::string> panel{"PMEL", "CD8A", "C1orf112"};
  const auto lower = match_panel(spots_of({"pmel", "cd8a", "c1orf112"}), panel);
  EXPECT_EQ(lower.matched_by, "symbol ignoring case");
  EXPECT_THAT(lower.missing, IsEmpty());
  // With most symbols there as they are, a difference in case is a difference.
  const auto exact = match_panel(spots_of({"PMEL", "CD8A", "C1ORF112"}), panel);
  EXPECT_EQ(exact.matched_by, "symbol");
  EXPECT_THAT(exact.missing, ElementsAre("C1orf112"));
}

TEST(GenePanel, PrefixesOfAReferenceAreTakenOff) {
  const std::vector<std::string> panel{"PMEL", "CD8A"};
  const auto result = match_panel(spots_of({"GRCh38_PMEL", "GRCh38_ACTB", "GRCh38_CD8A"}), panel);
  EXPECT_THAT(result.counts, ElementsAre(1, 3, 0, 0));
  EXPECT_EQ(result.matched_by, "symbol after GRCh38_");
}

TEST(GenePanel, AFilteredTableGivesTheSameExpression) {
  const std::vector<std::string> panel{"CD8A", "PMEL"};
  const SpotTable whole = spots_of({"PMEL", "MLANA", "CD8A", "PMEL"});
  const auto keep = panel_filter(panel)(whole.counts.genes, {});
  EXPECT_THAT(keep, ElementsAre(1, 0, 1, 1));
  SpotTable filtered = whole;
  filtered.counts = select_columns(whole.counts, keep);
  filtered.counts.totals = spot_totals(whole);
  const auto a = match_panel(whole, panel), b = match_panel(filtered, panel);
  EXPECT_EQ(a.values, b.values);
  EXPECT_EQ(a.counts, b.counts);
  EXPECT_EQ(a.totals, b.totals);
  // Where little matches, all are kept, so that the likely cause can still be told.
  EXPECT_THAT(panel_filter(panel)(std::vector<std::string>{"Pmel", "Cd8a"}, {}), ElementsAre(1, 1));
}

TEST(GenePanel, MouseIsNotTakenForHuman) {
  const std::vector<std::string> panel{"ACTB", "CD3E", "PMEL", "COL1A1"};
  const auto result = match_panel(spots_of({"Actb", "Cd3e", "Pmel", "Col1a1"}), panel);
  EXPECT_EQ(result.missing.size(), 4u);
  const Error error = error_of([&] { result.require_matched(0.5, "mouse.h5ad"); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(),
              HasSubstr("mouse.h5ad: 0 of 4 genes of the model's panel match (0.0 %); at least 50 % are needed"));
  EXPECT_THAT(error.what(), HasSubstr("symbols look like mouse (Actb)"));
  const std::vector<std::string> mouse_panel{"Actb", "Cd3e"};
  EXPECT_THAT(match_panel(spots_of({"ACTB", "CD3E"}), mouse_panel).hint, HasSubstr("look like human (ACTB)"));
}

TEST(GenePanel, RequireMatchedNamesTheNumbers) {
  const std::vector<std::string> panel{"A1", "B1", "C1", "PMEL"};
  const auto result = match_panel(spots_of({"PMEL", "X1"}), panel);
  EXPECT_NO_THROW(result.require_matched(0.25, "f"));
  EXPECT_THAT(error_of([&] { result.require_matched(0.5, "f.h5ad"); }).what(),
              HasSubstr("f.h5ad: 1 of 4 genes of the model's panel match (25.0 %); at least 50 % are needed: is this "
                        "another tissue"));
}

TEST(GenePanel, LogNormalisedValuesAreKept) {
  SpotTable spots = spots_of({"TBCE", "PMEL", "TBCE"});
  spots.log_normalized = true;
  const std::vector<std::string> panel{"PMEL", "TBCE"};
  const auto result = match_panel(spots, panel);
  EXPECT_FLOAT_EQ(result.values[0], 2.0f);
  EXPECT_FLOAT_EQ(result.values[1], static_cast<float>(std::log1p(std::expm1(1.0) + std::expm1(3.0))));
  EXPECT_THAT(result.counts, IsEmpty());
}

}  // namespace
}  // namespace vtissue::io
