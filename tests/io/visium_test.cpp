#include <gmock/gmock.h>

#include <array>

#include "io/expression.h"
#include "io/hdf5.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kHeader = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\n";
// Four spots in tissue, one off it; not in the matrix' order.
constexpr const char* kPositions =
    "CCC-1,1,0,4,20.5,340\n"
    "AAA-1,1,0,0,20.5,100\n"
    "BBB-1,1,0,2,20.5,220\n"
    "DDD-1,1,1,1,-124.5,160\n"
    "EEE-1,0,1,3,124.5,280\n";

/// Barcodes AAA to DDD; three genes, two of one symbol, and an antibody.
void write_mtx(const std::filesystem::path& outs, bool packed) {
  const auto folder = outs / "filtered_feature_bc_matrix";
  const auto write = [&](const std::string& name, std::string_view text) {
    return packed ? write_gzip(folder / (name + ".gz"), text) : write_text(folder / name, text);
  };
  write("barcodes.tsv", "AAA-1\nBBB-1\nCCC-1\nDDD-1\n");
  write("features.tsv",
        "ENSG01\tPMEL\tGene Expression\nENSG02\tCD3\tAntibody Capture\nENSG03\tTBCE\tGene "
        "Expression\nENSG04\tTBCE\tGene Expression\n");
  write("matrix.mtx",
        "%%MatrixMarket matrix coordinate integer general\n%metadata_json: {}\n4 4 6\n"
        "4 1 7\n1 1 3\n2 1 99\n3 2 4\n1 3 1\n2 4 50\n");
}

/// The same as HDF5; `legacy`: the layout before version 3, without feature types.
void write_h5(const std::filesystem::path& path, bool legacy) {
  std::filesystem::create_directories(path.parent_path());
  hdf5::File file = hdf5::File::create(path);
  hdf5::Group root = file.root();
  hdf5::Group group = root.create_group(legacy ? "GRCh38" : "matrix");
  const auto vector = [](std::size_t n) { return std::array<std::uint64_t, 1>{n}; };
  group.write_strings("barcodes", std::vector<std::string>{"AAA-1", "BBB-1", "CCC-1", "DDD-1"});
  const std::vector<std::string> names{"PMEL", "CD3", "TBCE", "TBCE"}, ids{"ENSG01", "ENSG02", "ENSG03", "ENSG04"};
  if (legacy) {
    group.write_strings("gene_names", names);
    group.write_strings("genes", ids);
  } else {
    hdf5::Group features = group.create_group("features");
    features.write_strings("name", names);
    features.write_strings("id", ids);
    features.write_strings("feature_type", std::vector<std::string>{"Gene Expression", "Antibody Capture",
                                                                    "Gene Expression", "Gene Expression"});
  }
  group.write<double>("data", vector(6), std::vector<double>{7, 3, 99, 4, 1, 50});
  group.write<std::int64_t>("indices", vector(6), std::vector<std::int64_t>{3, 0, 1, 2, 0, 1});
  group.write<std::int64_t>("indptr", vector(5), std::vector<std::int64_t>{0, 3, 4, 5, 6});
  group.write<std::int32_t>("shape", vector(2), std::vector<std::int32_t>{4, 4});
  file.close();
}

void write_spatial(const std::filesystem::path& outs, const std::string& name, const std::string& text) {
  write_text(outs / "spatial" / name, text);
  write_text(outs / "spatial" / "scalefactors_json.json",
             R"({"spot_diameter_fullres": 78.5, "tissue_hires_scalef": 0.1, "unknown": null})");
}

void expect_example(const SpotTable& table) {
  EXPECT_THAT(table.barcodes, ElementsAre("AAA-1", "BBB-1", "CCC-1", "DDD-1"));
  EXPECT_THAT(table.x, ElementsAre(100, 220, 340, 160));
  EXPECT_THAT(table.y, ElementsAre(20.5, 20.5, 20.5, -124.5));
  EXPECT_THAT(table.counts.genes, ElementsAre("PMEL", "TBCE", "TBCE"));
  EXPECT_THAT(table.counts.gene_ids, ElementsAre("ENSG01", "ENSG03", "ENSG04"));
  EXPECT_THAT(table.counts.indptr, ElementsAre(0, 2, 3, 4, 4));
  EXPECT_THAT(table.counts.indices, ElementsAre(0, 2, 1, 0));
  EXPECT_THAT(table.counts.values, ElementsAre(3, 7, 4, 1));
  EXPECT_EQ(table.spot_diameter_px, 78.5);
  EXPECT_EQ(table.pitch_px, 120.0);
  EXPECT_EQ(table.pitch_um, 100.0);
  EXPECT_EQ(table.source, "visium");
  EXPECT_FALSE(table.log_normalized);
}

TEST(Visium, ReadsTheLayoutsOfAllVersions) {
  for (const bool header : {false, true}) {
    // Whether there is a header shows in the content; both names occur with and without.
    for (const char* name : {"tissue_positions.csv", "tissue_positions_list.csv"}) {
      const TemporaryFolder folder;
      write_mtx(folder.path(), header);
      write_spatial(folder.path(), name, (header ? kHeader : "") + std::string(kPositions));
      expect_example(read_visium(folder.path()));
    }
  }
  const TemporaryFolder folder;
  write_h5(folder / "outs/GSM1_filtered_feature_bc_matrix.h5", false);
  write_spatial(folder / "outs", "GSM1_tissue_positions.csv", kHeader + std::string(kPositions));
  expect_example(read_visium(folder / "outs"));
  expect_example(read_visium(folder.path()));  // the folder above outs/
}

TEST(Visium, NamesTheFilesItReads) {
  const TemporaryFolder folder;
  write_h5(folder / "outs/GSM1_filtered_feature_bc_matrix.h5", false);
  write_spatial(folder / "outs", "GSM1_tissue_positions.csv", kHeader + std::string(kPositions));
  write_text(folder / "outs" / "possorted_genome_bam.bam", "reads");
  const std::vector<std::filesystem::path> files = visium_files(folder.path());
  EXPECT_THAT(files, ElementsAre("outs/GSM1_filtered_feature_bc_matrix.h5", "outs/spatial/GSM1_tissue_positions.csv",
                                 "outs/spatial/scalefactors_json.json"));
}

TEST(Visium, ReadsMatricesBeforeVersion3) {
  const TemporaryFolder folder;
  write_h5(folder / "filtered_feature_bc_matrix.h5", true);
  write_spatial(folder.path(), "tissue_positions_list.csv", kPositions);
  const SpotTable table = read_visium(folder.path());
  EXPECT_THAT(table.counts.genes, ElementsAre("PMEL", "CD3", "TBCE", "TBCE"));
  EXPECT_THAT(table.counts.values, ElementsAre(3, 99, 7, 4, 1, 50));
}

TEST(Visium, OnlySpotsInTissueAreTaken) {
  const TemporaryFolder folder;
  write_mtx(folder.path(), false);
  std::string positions = kPositions;
  positions.replace(positions.find("BBB-1,1"), 7, "BBB-1,0");
  write_spatial(folder.path(), "tissue_positions.csv", positions);
  const SpotTable table = read_visium(folder.path());
  EXPECT_THAT(table.barcodes, ElementsAre("AAA-1", "CCC-1", "DDD-1"));
  EXPECT_THAT(table.counts.indptr, ElementsAre(0, 2, 3, 3));
}

struct Defect {
  std::string name, positions, message;
};

class VisiumDefects : public testing::TestWithParam<Defect> {};

TEST_P(VisiumDefects, AreRefused) {
  const TemporaryFolder folder;
  write_mtx(folder.path(), false);
  write_spatial(folder.path(), "tissue_positions.csv", GetParam().positions);
  const Error error = error_of([&] { read_visium(folder.path()); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr(GetParam().message));
  EXPECT_THAT(error.what(), HasSubstr("tissue_positions.csv"));
}

INSTANTIATE_TEST_SUITE_P(
    All, VisiumDefects,
    testing::Values(Defect{"Empty", "", "has no spots"}, Defect{"HeaderAlone", kHeader, "has no spots"},
                    Defect{"FewColumns", "AAA-1,1,0,0,20\n", "line 1: has 5 columns, expected 6"},
                    Defect{"NotANumber", "AAA-1,1,0,0,20,x\n", "expected a barcode and five numbers"},
                    Defect{"InTissue2", "AAA-1,2,0,0,20,20\n", "in_tissue is 2"},
                    Defect{"Twice", std::string(kPositions) + "AAA-1,1,0,6,1,1\n",
                           "barcode AAA-1 is there twice, as spot 2 and spot 6"},
                    Defect{"NaN", "AAA-1,1,0,0,20,nan\n", "position (nan, 20) is out of range"},
                    Defect{"HalfARow", "AAA-1,1,0.5,0,20,20\n", "array position (0.5, 0) is out of range"},
                    Defect{"Binary", std::string("PK\3\4 5\0\x91", 8), "line 1: has 1 columns"},
                    Defect{"OtherSample", "ZZZ-1,1,0,0,20,20\n", "4 of 4 barcodes of the matrix have no position"},
                    Defect{"NoTissue", "AAA-1,0,0,0,1,1\nBBB-1,0,0,2,1,2\nCCC-1,0,0,4,1,3\nDDD-1,0,1,1,1,4\n",
                           "no spot is in tissue"}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(Visium, RefusesFoldersThatLackSomething) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { read_visium(folder / "none"); }).what(), HasSubstr("no such folder"));
  EXPECT_THAT(error_of([&] { read_visium(folder.path()); }).what(), HasSubstr("tissue_positions.csv"));
  write_spatial(folder.path(), "tissue_positions.csv", kPositions);
  EXPECT_THAT(error_of([&] { read_visium(folder.path()); }).what(), HasSubstr("filtered_feature_bc_matrix"));
  write_mtx(folder.path(), false);
  write_text(folder / "spatial/scalefactors_json.json", "{");
  EXPECT_THAT(error_of([&] { read_visium(folder.path()); }).what(),
              HasSubstr("scalefactors_json.json: is not a JSON object"));
}

TEST(Visium, TheHeaderNamesTheColumns) {
  const TemporaryFolder folder;
  write_mtx(folder.path(), false);
  write_spatial(folder.path(), "tissue_positions.csv",
                "barcode,in_tissue,array_row,array_col,pxl_col_in_fullres,pxl_row_in_fullres\n"
                "CCC-1,1,0,4,340,20.5\nAAA-1,1,0,0,100,20.5\nBBB-1,1,0,2,220,20.5\nDDD-1,1,1,1,160,-124.5\n");
  expect_example(read_visium(folder.path()));
}

TEST(Visium, ReadsFilesBesideEachOtherAsGeoHasThem) {
  const TemporaryFolder folder;
  write_mtx(folder / "made", true);
  write_spatial(folder / "made", "tissue_positions_list.csv", kPositions);
  for (const char* name : {"barcodes.tsv.gz", "features.tsv.gz", "matrix.mtx.gz"}) {
    std::filesystem::rename(folder / "made/filtered_feature_bc_matrix" / name,
                            folder.path() / ("GSM1_A1_" + std::string(name)));
  }
  write_gzip(folder / "GSM1_A1_tissue_positions_list.csv.gz", kPositions);
  write_gzip(folder / "GSM1_A1-scalefactors_json.json.gz", R"({"spot_diameter_fullres": 78.5})");
  std::filesystem::remove_all(folder / "made");
  expect_example(read_visium(folder.path()));
  EXPECT_EQ(visium_files(folder.path()).size(), 5u);
}

TEST(Visium, TheRawMatrixServesWhereTheFilteredOneIsMissing) {
  const TemporaryFolder folder;
  write_h5(folder / "raw_feature_bc_matrix.h5", false);
  write_spatial(folder.path(), "tissue_positions.csv", kPositions);
  expect_example(read_visium(folder.path()));
}

/// Bins of 8 µm with the positions of tests/data/spatial, all 90 in the matrix, one count of gene bin % 3 each.
void write_hd(const std::filesystem::path& outs, const std::string& positions) {
  const auto bins = outs / "binned_outputs/square_008um";
  std::filesystem::create_directories(bins / "spatial");
  const auto source = std::filesystem::path(VTISSUE_TEST_DATA) / "spatial" / positions;
  std::filesystem::copy_file(source, bins / "spatial/tissue_positions.parquet");
  write_text(bins / "spatial/scalefactors_json.json",
             R"({"spot_diameter_fullres": 30.0, "bin_size_um": 8.0, "microns_per_pixel": 0.2667})");
  hdf5::File file = hdf5::File::create(bins / "filtered_feature_bc_matrix.h5");
  hdf5::Group root = file.root();
  hdf5::Group group = root.create_group("matrix");
  std::vector<std::string> barcodes;
  std::vector<std::int64_t> indices, indptr{0};
  for (std::int64_t i = 89; i >= 0; --i) {
    barcodes.push_back(fmt::format("s_008um_{:05}_{:05}-1", i / 15, i % 15));
    indices.push_back(i % 3);
    indptr.push_back(90 - i);
  }
  const auto vector = [](std::size_t n) { return std::array<std::uint64_t, 1>{n}; };
  group.write_strings("barcodes", barcodes);
  hdf5::Group features = group.create_group("features");
  features.write_strings("name", std::vector<std::string>{"PMEL", "CD3E", "TBCE"});
  features.write_strings("id", std::vector<std::string>{"ENSG01", "ENSG02", "ENSG03"});
  group.write<std::int64_t>("data", vector(90), std::vector<std::int64_t>(90, 1));
  group.write<std::int64_t>("indices", vector(90), indices);
  group.write<std::int64_t>("indptr", vector(91), indptr);
  group.write<std::int32_t>("shape", vector(2), std::vector<std::int32_t>{3, 90});
  file.close();
}

TEST(Visium, ReadsTheBinsOfVisiumHd) {
  const TemporaryFolder folder;
  write_hd(folder / "outs", "polars_zstd.parquet");
  for (const char* given : {"outs", "", "outs/binned_outputs", "outs/binned_outputs/square_008um"}) {
    const SpotTable table = read_visium(folder / given);
    EXPECT_EQ(table.source, "visium-hd");
    EXPECT_EQ(table.barcodes.size(), 88u);  // two are off the tissue
    EXPECT_EQ(table.barcodes.front(), "s_008um_00005_00014-1");
    EXPECT_EQ(table.x.front(), 1420.5);
    EXPECT_EQ(table.y.front(), 650.25);
    EXPECT_EQ(table.pitch_px, 30.0);
    EXPECT_EQ(table.pitch_um, 8.0);
    EXPECT_EQ(table.spot_diameter_px, 30.0);
    EXPECT_EQ(table.mpp, 0.2667);
  }
  EXPECT_THAT(visium_files(folder.path()),
              testing::Contains("outs/binned_outputs/square_008um/spatial/tissue_positions.parquet"));
  EXPECT_THAT(error_of([&] { read_visium(folder.path(), {.bin_um = 16}); }).what(),
              HasSubstr("has no bins of 16 µm (it has: square_008um)"));
  std::filesystem::create_directories(folder / "cells/segmented_outputs");
  EXPECT_THAT(error_of([&] { read_visium(folder / "cells"); }).what(), HasSubstr("has cells (segmented_outputs)"));
}

TEST(Visium, AGeneFilterKeepsTheTotals) {
  const TemporaryFolder folder;
  for (const bool h5 : {false, true}) {
    const auto outs = folder / (h5 ? "h5" : "mtx");
    if (h5) write_h5(outs / "filtered_feature_bc_matrix.h5", false);
    if (!h5) write_mtx(outs, true);
    write_spatial(outs, "tissue_positions.csv", kPositions);
    const SpotTable table =
        read_visium(outs, {.keep = [](std::span<const std::string> genes, std::span<const std::string> ids) {
                      EXPECT_THAT(genes, ElementsAre("PMEL", "TBCE", "TBCE"));
                      EXPECT_THAT(ids, ElementsAre("ENSG01", "ENSG03", "ENSG04"));
                      return std::vector<std::uint8_t>{0, 0, 1};
                    }});
    EXPECT_THAT(table.counts.genes, ElementsAre("TBCE"));
    EXPECT_THAT(table.counts.gene_ids, ElementsAre("ENSG04"));
    EXPECT_THAT(table.counts.indptr, ElementsAre(0, 1, 1, 1, 1));
    EXPECT_THAT(table.counts.values, ElementsAre(7));
    // Antibodies do not count.
    EXPECT_THAT(table.counts.totals, ElementsAre(10, 4, 1, 0));
  }
}

TEST(Visium, RefusesDamagedMatrices) {
  const TemporaryFolder folder;
  write_spatial(folder.path(), "tissue_positions.csv", kPositions);
  const auto message_of = [&](std::string_view matrix) {
    write_mtx(folder.path(), false);
    write_text(folder / "filtered_feature_bc_matrix/matrix.mtx", matrix);
    return std::string(error_of([&] { read_visium(folder.path()); }).what());
  };
  const std::string head = "%%MatrixMarket matrix coordinate integer general\n";
  EXPECT_THAT(message_of(""), HasSubstr("matrix.mtx: is empty"));
  EXPECT_THAT(message_of("1 2 3\n"), HasSubstr("not a MatrixMarket"));
  EXPECT_THAT(message_of(head + "4 4 1\n1.5 1 1\n"), HasSubstr("is not a whole number"));
  EXPECT_THAT(message_of(head + "4 4 1\n1 1 nan\n"), HasSubstr("count nan"));
  EXPECT_THAT(message_of(head + "99999999999 4 1\n1 1 1\n"),
              HasSubstr("features and 4 barcodes, but the tables beside"));
  EXPECT_THAT(message_of(head + "5 4 1\n1 1 1\n"),
              HasSubstr("5 features and 4 barcodes, but the tables beside have 4 and 4"));
  EXPECT_THAT(message_of(head + "4 4 2\n1 1 1\n"), HasSubstr("1 entries, the head says 2"));
  EXPECT_THAT(message_of(head + "4 4 1\n5 1 1\n"), HasSubstr("out of range"));
  EXPECT_THAT(message_of(head + "4 4 1\n1 1 -1\n"), HasSubstr("count -1"));
  EXPECT_THAT(message_of(head + "4 4 1\n1 1\n"), HasSubstr("line 3: expected feature, barcode and count"));
  write_text(folder / "filtered_feature_bc_matrix/barcodes.tsv", "AAA-1\nBBB-1\nAAA-1\nDDD-1\n");
  EXPECT_THAT(error_of([&] { read_visium(folder.path()); }).what(), HasSubstr("barcode AAA-1 is there twice"));
}

TEST(VisiumRealData, Version1OfSpaceRanger) {
  const auto folder = real_data("visium/Vis5A_2dpi");
  if (!folder) GTEST_SKIP() << "set VTISSUE_DATA to the folder with visium/Vis5A_2dpi";
  const SpotTable table = read_visium(*folder);
  EXPECT_EQ(table.barcodes.size(), 982u);
  EXPECT_EQ(table.counts.genes.size(), 33217u);
  EXPECT_EQ(table.counts.rows, 982u);
  EXPECT_NEAR(*table.spot_diameter_px / *table.pitch_px, 0.65, 0.01);  // formats.md 3.2
}

TEST(VisiumRealData, H5AndMtxHoldTheSame) {
  const auto folder = real_data("visium/Placenta_S3");
  if (!folder) GTEST_SKIP() << "set VTISSUE_DATA to the folder with visium/Placenta_S3";
  const SpotTable table = read_visium(*folder);
  EXPECT_EQ(table.barcodes.size(), 2898u);
  EXPECT_EQ(table.counts.genes.size(), 19465u);
  EXPECT_EQ(table.counts.values.size(), 1069459u);
  EXPECT_NEAR(*table.spot_diameter_px / *table.pitch_px, 0.70, 0.01);
  const TemporaryFolder copy;
  std::filesystem::create_directory_symlink(*folder / "spatial", copy / "spatial");
  std::filesystem::create_directory_symlink(*folder / "filtered_feature_bc_matrix",
                                            copy / "filtered_feature_bc_matrix");
  const SpotTable from_mtx = read_visium(copy.path());
  EXPECT_EQ(from_mtx.barcodes, table.barcodes);
  EXPECT_EQ(from_mtx.x, table.x);
  EXPECT_EQ(from_mtx.counts.genes, table.counts.genes);
  EXPECT_EQ(from_mtx.counts.indptr, table.counts.indptr);
  EXPECT_EQ(from_mtx.counts.indices, table.counts.indices);
  EXPECT_EQ(from_mtx.counts.values, table.counts.values);
}

TEST(VisiumRealData, SmallFixtures) {
  for (const char* name : {"visium/scanpy_fixtures/1.0.0", "visium/seurat_fixtures/visium",
                           "visium/sfe_fixtures/sample01/outs", "visium/seurat_fixtures/visium_hd"}) {
    const auto folder = real_data(name);
    if (!folder) GTEST_SKIP() << "set VTISSUE_DATA to the folder with " << name;
    const SpotTable table = read_visium(*folder);
    EXPECT_GT(table.barcodes.size(), 0u) << name;
    EXPECT_EQ(table.counts.rows, table.barcodes.size()) << name;
    EXPECT_GT(table.counts.values.size(), 0u) << name;
  }
}

}  // namespace
}  // namespace vtissue::io
