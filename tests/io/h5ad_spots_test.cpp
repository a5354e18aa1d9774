#include <gmock/gmock.h>
#include <hdf5.h>

#include <array>

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

/// Adds a dense matrix of counts [4, 2] to the written example, whose X is fractions.
void add_counts(const std::filesystem::path& path, const std::string& group, bool with_genes) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const hid_t links = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  const std::array<hsize_t, 2> shape{4, 2};
  const hid_t space = H5Screate_simple(2, shape.data(), nullptr);
  const std::array<float, 8> counts{7, 0, 0, 8, 9, 0, 0, 10};
  const std::string name = group + (with_genes ? "/X" : "/counts");
  const hid_t dataset = H5Dcreate2(file, name.c_str(), H5T_NATIVE_FLOAT, space, links, H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_GE(H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, counts.data()), 0);
  if (with_genes) {
    EXPECT_GE(H5Ocopy(file, "var", file, (group + "/var").c_str(), H5P_DEFAULT, links), 0);
  }
  H5Dclose(dataset), H5Sclose(space), H5Pclose(links), H5Fclose(file);
}

TEST(H5adSpots, CountsOfALayerOrOfRawWinOverFractionsInX) {
  for (const bool raw : {false, true}) {
    const TemporaryFolder folder;
    AnnData data = example();
    data.x.values = {0.5f, 2.5f, 3.5f, 4.5f};
    data.var.index = data.x.genes;
    write_h5ad(folder / "spots.h5ad", data);
    add_counts(folder / "spots.h5ad", raw ? "raw" : "layers", raw);
    const SpotTable table = read_h5ad_spots(folder / "spots.h5ad");
    EXPECT_FALSE(table.log_normalized) << raw;
    EXPECT_THAT(table.counts.values, ElementsAre(7, 8, 9, 10)) << raw;
    EXPECT_THAT(table.counts.genes, ElementsAre("PMEL", "CD8A")) << raw;
  }
}

TEST(H5adSpots, CountsInXWinOverALayer) {
  const TemporaryFolder folder;
  write_h5ad(folder / "spots.h5ad", example());
  add_counts(folder / "spots.h5ad", "layers", false);
  EXPECT_THAT(read_h5ad_spots(folder / "spots.h5ad").counts.values, ElementsAre(1, 2, 3, 4));
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

TEST(H5adSpots, CountsOfVersion06AreInRaw) {
  const SpotTable table = read_h5ad_spots(std::filesystem::path(VTISSUE_TEST_DATA) / "spatial" / "anndata_0.6.h5ad");
  EXPECT_THAT(table.barcodes, ElementsAre("AAAC-1", "CCCG-1", "TTTA-1"));  // in_tissue of the third is 0
  EXPECT_THAT(table.counts.genes, ElementsAre("PMEL", "CD8A", "KRT5", "ACTB"));
  EXPECT_THAT(table.x, ElementsAre(10.5, 30, 70));
  EXPECT_FALSE(table.log_normalized);
}

TEST(H5adSpots, HestsMetadataTellScaleAndImage) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "st");
  write_h5ad(folder / "st/TENX1.h5ad", example());
  EXPECT_FALSE(read_h5ad_spots(folder / "st/TENX1.h5ad").mpp);
  const auto metadata = folder / "metadata/TENX1.json";
  write_text(metadata, R"({"pixel_size_um_embedded": 0.9, "pixel_size_um_estimated": 0.2738, "fullres_px_width": 21571,
                           "fullres_px_height": 24240, "st_technology": "Visium", "inter_spot_dist": null})");
  const SpotTable table = read_h5ad_spots(folder / "st/TENX1.h5ad");
  EXPECT_EQ(table.mpp, 0.2738);
  EXPECT_EQ(table.image_size, (Size<Level0Px>{21571, 24240}));
  write_text(metadata, R"({"pixel_size_um_estimated": "0.27"})");
  EXPECT_THAT(error_of([&] { read_h5ad_spots(folder / "st/TENX1.h5ad"); }).what(),
              HasSubstr("TENX1.json: pixel_size_um_estimated is \"0.27\""));
  write_text(metadata, "[");
  EXPECT_THAT(error_of([&] { read_h5ad_spots(folder / "st/TENX1.h5ad"); }).what(), HasSubstr("is not a JSON object"));
}

TEST(H5adSpots, CellxgenesNameOfThePositionsIsRead) {
  const TemporaryFolder folder;
  write_h5ad(folder / "spots.h5ad", example());
  const hid_t file = H5Fopen((folder / "spots.h5ad").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  EXPECT_GE(H5Lmove(file, "obsm/spatial", file, "obsm/X_spatial", H5P_DEFAULT, H5P_DEFAULT), 0);
  H5Fclose(file);
  EXPECT_THAT(read_h5ad_spots(folder / "spots.h5ad").x, ElementsAre(0, 10, 0, 10));
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
