#include <gmock/gmock.h>

#include "io/anndata.h"
#include "io/expression.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::filesystem::path kFolder = std::filesystem::path(VTISSUE_TEST_DATA) / "golden" / "h5ad";

/// A square grid of four spots, 10 px apart, with counts of two genes.
AnnData example() {
  AnnData data;
  data.x.rows = 4;
  data.x.genes = {"PMEL", "CD8A"};
  data.x.indptr = {0, 1, 2, 3, 4};
  data.x.indices = {0, 1, 0, 1};
  data.x.values = {1, 2, 3, 4};
  data.obs.index = {"a", "b", "c", "d"};
  data.spatial = {{0, 0, 10, 0, 0, 10, 10, 10}};
  return data;
}

SpotTable written_and_read(const AnnData& data) {
  const TemporaryFolder folder;
  write_h5ad(folder / "spots.h5ad", data);
  return read_h5ad_spots(folder / "spots.h5ad");
}

TEST(H5adSpots, SpatialIsXAndY) {
  const SpotTable table = read_h5ad_spots(kFolder / "spatial_f64.h5ad");
  // in_tissue is 0 for the rows 2 and 5
  EXPECT_THAT(table.barcodes, ElementsAre("AAAC0-1", "AAAC1-1", "AAAC3-1", "AAAC4-1"));
  EXPECT_THAT(table.x, ElementsAre(100.25, 110.25, 130.25, 140.25));
  EXPECT_THAT(table.y, ElementsAre(50.25, 30.25, -9.75, -29.75));
  EXPECT_EQ(table.spot_diameter_px, 89.5);
  EXPECT_FALSE(table.log_normalized);
  EXPECT_EQ(table.counts.values.front(), 2.0f);
  EXPECT_EQ(table.source, "h5ad");
}

TEST(H5adSpots, DeepSpotsPixelsAreRowAndColumnOfTheSlide) {
  const SpotTable table = read_h5ad_spots(kFolder / "deepspot_tcga.h5ad");
  EXPECT_THAT(table.x, testing::Each(161.0));
  EXPECT_THAT(table.y, ElementsAre(200, 490, 780, 1070, 1360, 1650));
  EXPECT_EQ(table.pitch_px, 290.0);
  EXPECT_TRUE(table.log_normalized);
}

TEST(H5adSpots, PixelColumnsOfAnotherLayoutDoNotWinOverSpatial) {
  AnnData data = example();
  data.obs.columns = {{"x_array", std::vector<std::int64_t>{0, 1, 0, 1}},
                      {"y_array", std::vector<std::int64_t>{0, 0, 1, 1}},
                      {"x_pixel", std::vector<std::int64_t>{0, 10, 0, 10}},
                      {"y_pixel", std::vector<std::int64_t>{0, 0, 10, 10}}};
  const SpotTable table = written_and_read(data);
  EXPECT_THAT(table.x, ElementsAre(0, 10, 0, 10));
  EXPECT_THAT(table.y, ElementsAre(0, 0, 10, 10));
}

TEST(H5adSpots, PitchIsTheNearestNeighboursOrTheHexagons) {
  AnnData data = example();
  EXPECT_EQ(written_and_read(data).pitch_px, 10.0);
  EXPECT_FALSE(written_and_read(data).pitch_um);
  data.obs.columns = {{"array_row", std::vector<std::int64_t>{0, 0, 1, 1}},
                      {"array_col", std::vector<std::int64_t>{0, 2, 1, 3}}};
  EXPECT_EQ(written_and_read(data).pitch_px, 10.0);
  EXPECT_EQ(written_and_read(data).pitch_um, 100.0);
}

TEST(H5adSpots, CountsAreLookedForInLayersAndRaw) {
  // X of raw_layers.h5ad holds counts itself; without a place on the slide it is refused.
  EXPECT_THAT(error_of([&] { read_h5ad_spots(kFolder / "raw_layers.h5ad"); }).what(), HasSubstr("no obsm/spatial"));
  EXPECT_THAT(error_of([&] { read_h5ad_spots(kFolder / "no_X.h5ad"); }).what(), HasSubstr("has no expression"));
}

TEST(H5adSpots, SymbolsArePreferredWhereTheIndexIsIds) {
  AnnData data = example();
  data.x.genes = {"ENSG00000185664", "ENSG00000153563"};
  data.var.index = data.x.genes;
  data.var.columns = {{"feature_name", std::vector<std::string>{"PMEL", "CD8A"}}};
  const SpotTable table = written_and_read(data);
  EXPECT_THAT(table.counts.genes, ElementsAre("PMEL", "CD8A"));
  EXPECT_THAT(table.counts.gene_ids, ElementsAre("ENSG00000185664", "ENSG00000153563"));
}

TEST(H5adSpots, KindsOfValuesAreTold) {
  AnnData data = example();
  EXPECT_FALSE(written_and_read(data).log_normalized);
  data.x.values = {0.5f, 2.5f, 3, 4};
  EXPECT_TRUE(written_and_read(data).log_normalized);
  data.x.values = {0.5f, 2500, 3, 4};  // normalised, not logarithmic
  EXPECT_FALSE(written_and_read(data).log_normalized);
  data.x.values = {-0.5f, 2.5f, 3, 4};
  const Error error = error_of([&] { written_and_read(data); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("negative values (down to -0.5)"));
}

TEST(H5adSpots, SeveralSectionsAreRefused) {
  AnnData data = example();
  data.numbers = {{"spatial/left/scalefactors/spot_diameter_fullres", 5},
                  {"spatial/right/scalefactors/spot_diameter_fullres", 5}};
  EXPECT_THAT(error_of([&] { written_and_read(data); }).what(), HasSubstr("holds 2 sections (left, right)"));
}

TEST(H5adSpots, NoSpotsAreRefused) {
  AnnData data = example();
  data.obs.columns = {{"in_tissue", std::vector<std::int64_t>{0, 0, 0, 0}}};
  EXPECT_THAT(error_of([&] { written_and_read(data); }).what(), HasSubstr("no spots in tissue"));
}

}  // namespace
}  // namespace vtissue::io
