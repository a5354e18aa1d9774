// Every class of defect once for each format of expression, with the message that names it: cut, swapped, empty, huge,
// of wrong types, counts that are no numbers, barcodes twice, headers that lie. Parquet's are in parquet_test.cpp,
// slides' in broken_slides_test.cpp, those of CLAM's and TRIDENT's files in patch_coordinates_test.cpp.

#include <gmock/gmock.h>
#include <hdf5.h>

#include <array>
#include <cmath>
#include <functional>

#include "io/anndata.h"
#include "io/expression.h"
#include "io/tenx_matrix.h"
#include "io/visium_layout.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kData = VTISSUE_TEST_DATA;

/// Makes a broken input in a folder and reads it.
struct BrokenInput {
  std::string name;
  std::function<void(const fs::path& folder)> read;
  std::string message;
};

class BrokenInputs : public testing::TestWithParam<BrokenInput> {};

TEST_P(BrokenInputs, AreRefusedByName) {
  const TemporaryFolder folder;
  const Error error = error_of([&] { GetParam().read(folder.path()); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr(GetParam().message));
  EXPECT_THAT(error.what(), HasSubstr(folder.path().string()));
}

fs::path copy_of(const fs::path& source, const fs::path& target) {
  fs::copy_file(source, target);
  fs::permissions(target, fs::perms::owner_all);
  return target;
}

fs::path cut(const fs::path& path) {
  fs::resize_file(path, fs::file_size(path) * 2 / 3);
  return path;
}

/// Replaces a dataset of an HDF5 file; `chunked`: without ever writing it.
void replace(const fs::path& path, const std::string& name, hid_t type, std::vector<hsize_t> shape, const void* values,
             bool chunked = false) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  EXPECT_GE(H5Ldelete(file, name.c_str(), H5P_DEFAULT), 0) << name;
  const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  const std::vector<hsize_t> chunk(shape.size(), 64);
  if (chunked) H5Pset_chunk(creation, static_cast<int>(chunk.size()), chunk.data());
  const hid_t dataset = H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  EXPECT_GE(dataset, 0) << name;
  if (values != nullptr) H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  H5Dclose(dataset), H5Pclose(creation), H5Sclose(space), H5Fclose(file);
}

void replace_numbers(const fs::path& path, const std::string& name, const std::vector<double>& values) {
  replace(path, name, H5T_NATIVE_DOUBLE, {values.size()}, values.data());
}

void replace_by_text(const fs::path& path, const std::string& name, const std::vector<const char*>& texts) {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, H5T_VARIABLE);
  replace(path, name, type, {texts.size()}, texts.data());
  H5Tclose(type);
}

/// Number of values of a dataset.
std::size_t stored_values(const fs::path& path, const std::string& name) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(file, name.c_str(), H5P_DEFAULT);
  const hid_t space = H5Dget_space(dataset);
  const hssize_t count = H5Sget_simple_extent_npoints(space);
  H5Sclose(space), H5Dclose(dataset), H5Fclose(file);
  return static_cast<std::size_t>(count);
}

/// A whole matrix of Space Ranger: 4 barcodes, 4 features, 6 entries.
fs::path matrix(const fs::path& folder) { return copy_of(kData / "spatial/v3_matrix.h5", folder / "matrix.h5"); }

/// A whole section of six spots and five genes, as CSR.
fs::path section(const fs::path& folder) { return copy_of(kData / "golden/h5ad/csr.h5ad", folder / "section.h5ad"); }

BrokenInput tenx(std::string name, std::function<void(const fs::path&)> damage, std::string message) {
  return {"TenxH5" + name,
          [damage](const fs::path& folder) {
            const fs::path path = matrix(folder);
            damage(path);
            read_tenx_h5(path);
          },
          std::move(message)};
}

BrokenInput h5ad(std::string name, std::function<void(const fs::path&)> damage, std::string message) {
  return {"H5ad" + name,
          [damage](const fs::path& folder) {
            const fs::path path = section(folder);
            damage(path);
            read_h5ad_spots(path);
          },
          std::move(message)};
}

/// The two tables of legacy ST, packed.
BrokenInput legacy(std::string name, std::string counts, std::string spots, std::string message,
                   bool cut_short = false) {
  return {"LegacySt" + name,
          [=](const fs::path& folder) {
            const fs::path table = write_gzip(folder / "counts.tsv.gz", counts);
            if (cut_short) cut(table);
            read_legacy_st(table, write_text(folder / "spots.tsv", spots));
          },
          std::move(message)};
}

BrokenInput positions(std::string name, std::string text, std::string message) {
  return {"Positions" + name,
          [=](const fs::path& folder) { read_tissue_positions(write_text(folder / "tissue_positions.csv", text)); },
          std::move(message)};
}

BrokenInput scale(std::string name, std::string text, std::string message) {
  return {"ScaleFactors" + name,
          [=](const fs::path& folder) { read_scale_factors(write_text(folder / "scalefactors_json.json", text)); },
          std::move(message)};
}

BrokenInput mtx(std::string name, std::string barcodes, std::string features, std::string entries,
                std::string message) {
  return {"Mtx" + name,
          [=](const fs::path& folder) {
            read_tenx_mtx({write_text(folder / "matrix.mtx", entries), write_text(folder / "barcodes.tsv", barcodes),
                           write_text(folder / "features.tsv", features)});
          },
          std::move(message)};
}

void overwrite(const fs::path& path, std::string_view text) { write_text(path, text); }

const std::string kMtxHead = "%%MatrixMarket matrix coordinate integer general\n";
const std::string kBarcodes = "AAA-1\nBBB-1\n", kFeatures = "ENSG1\tA\nENSG2\tB\n";
const std::string kCounts = "\tA\tB\n1x1\t1\t2\n2x1\t3\t4\n";
const std::string kSpots = "x\ty\tpixel_x\tpixel_y\n1\t1\t10\t10\n2\t1\t20\t10\n";

std::string many_counts() {
  std::string counts = "\tA\tB\n";
  for (int i = 0; i < 5000; ++i) counts += fmt::format("{}x1\t{}\t{}\n", i, i * 7919 % 97, i * 31 % 13);
  return counts;
}

INSTANTIATE_TEST_SUITE_P(
    All, BrokenInputs,
    testing::Values(
        tenx(
            "Empty", [](const fs::path& p) { overwrite(p, ""); }, "is not an HDF5 file"),
        tenx(
            "Cut", [](const fs::path& p) { cut(p); }, "cannot be opened as HDF5"),
        tenx(
            "Text", [](const fs::path& p) { overwrite(p, "AAA-1,1,0,0,1,1\n"); }, "is not an HDF5 file"),
        tenx(
            "SwappedForH5ad", [](const fs::path& p) { fs::remove(p), copy_of(kData / "golden/h5ad/csr.h5ad", p); },
            "has neither a group 'matrix' nor a genome's group: not a 10x matrix"),
        tenx(
            "Huge",
            [](const fs::path& p) { replace(p, "matrix/data", H5T_NATIVE_INT, {hsize_t{1} << 42}, nullptr, true); },
            "matrix/data: claims 4398046511104 elements"),
        tenx(
            "HugeStrings",
            [](const fs::path& p) {
              const hid_t type = H5Tcopy(H5T_C_S1);
              replace(p, "matrix/barcodes", type, {hsize_t{1} << 34}, nullptr, true);
              H5Tclose(type);
            },
            "matrix/barcodes: claims 17179869184 elements"),
        tenx(
            "WrongType",
            [](const fs::path& p) {
              replace_by_text(p, "matrix/data", {"7", "3", "99", "4", "1", "50"});
            },
            "matrix/data: does not hold numbers"),
        tenx(
            "NamesAreNumbers",
            [](const fs::path& p) {
              replace_numbers(p, "matrix/features/name", {1, 2, 3, 4});
            },
            "matrix/features/name: does not hold strings"),
        tenx(
            "NaN",
            [](const fs::path& p) {
              replace_numbers(p, "matrix/data", {7, 3, NAN, 4, 1, 50});
            },
            "matrix/data: value nan at 2; expression must be finite"),
        tenx(
            "Negative",
            [](const fs::path& p) {
              replace_numbers(p, "matrix/data", {7, 3, 9, -4, 1, 50});
            },
            "matrix/data: has negative counts"),
        tenx(
            "BarcodeTwice",
            [](const fs::path& p) {
              replace_by_text(p, "matrix/barcodes", {"A-1", "B-1", "A-1", "C-1"});
            },
            "barcode A-1 is there twice"),
        tenx(
            "LyingShape",
            [](const fs::path& p) {
              replace_numbers(p, "matrix/shape", {4, 9});
            },
            "matrix/shape: is [4, 9], but there are 4 features and 4 barcodes"),
        tenx(
            "IndexOutOfRange",
            [](const fs::path& p) {
              replace_numbers(p, "matrix/indices", {3, 0, 1, 2, 0, 5e12});
            },
            "of 4"),
        tenx(
            "StartsFall",
            [](const fs::path& p) {
              replace_numbers(p, "matrix/indptr", {0, 3, 2, 5, 6});
            },
            "matrix/indptr: falls"),
        tenx(
            "EntriesMissing",
            [](const fs::path& p) {
              replace_numbers(p, "matrix/indptr", {0, 3, 4, 5, 9});
            },
            "matrix/indptr: ends with 9, but there are 6 values"),
        tenx(
            "FewerIndices",
            [](const fs::path& p) {
              replace_numbers(p, "matrix/indices", {3, 0});
            },
            "matrix/indices: has shape [2], expected [6]"),

        h5ad(
            "Empty", [](const fs::path& p) { overwrite(p, ""); }, "is not an HDF5 file"),
        h5ad(
            "Cut", [](const fs::path& p) { cut(p); }, "cannot be opened as HDF5"),
        h5ad(
            "CutGzip",
            [](const fs::path& p) {
              fs::remove(p);
              cut(copy_of(kData / "golden/h5ad/dense_f32.h5ad.gz", p));
            },
            "damaged or cut off gzip data"),
        h5ad(
            "GzipOfText", [](const fs::path& p) { write_gzip(p, "x,y\n"); }, "is not an HDF5 file"),
        h5ad(
            "SwappedForTenx", [](const fs::path& p) { fs::remove(p), copy_of(kData / "spatial/v3_matrix.h5", p); },
            "obs: is missing"),
        h5ad(
            "Huge",
            [](const fs::path& p) { replace(p, "X/data", H5T_NATIVE_FLOAT, {hsize_t{1} << 42}, nullptr, true); },
            "X/data: claims 4398046511104 elements"),
        h5ad(
            "WrongType", [](const fs::path& p) { replace_by_text(p, "X/data", {"1"}); },
            "X/data: does not hold numbers"),
        h5ad(
            "NaN",
            [](const fs::path& p) {
              replace_numbers(p, "X/data", std::vector<double>(stored_values(p, "X/data"), NAN));
            },
            "X/data: value nan at 0; expression must be finite"),
        h5ad(
            "LyingShape",
            [](const fs::path& p) {
              replace_numbers(p, "X/indptr", {0, 1, 2});
            },
            "X/indptr: has shape [3], expected [7]"),
        h5ad(
            "IndexOutOfRange",
            [](const fs::path& p) {
              replace_numbers(p, "X/indices", std::vector<double>(stored_values(p, "X/indices"), 5e6));
            },
            "X/indices"),
        h5ad(
            "IndexOfRowsIsFractions",
            [](const fs::path& p) {
              replace_numbers(p, "obs/_index", {1, 2, 3, 4, 5, 6});
            },
            "obs/_index: the row names are neither strings nor integers"),
        h5ad(
            "NoPlace", [](const fs::path&) {}, "has no obsm/spatial"),
        h5ad(
            "ColumnTooShort",
            [](const fs::path& p) {
              replace_numbers(p, "obs/in_tissue", {1, 1});
            },
            "obs/in_tissue: has 2 values, the table has 6 rows"),

        legacy("Empty", "", kSpots, "counts.tsv.gz: is empty"),
        legacy("Cut", many_counts(), kSpots, "damaged or cut off gzip data", true),
        legacy("Swapped", kSpots, kCounts, "has no column 'x' (it has: , A, B)"),
        legacy("WrongType", "\tA\n1x1\tmany\n", kSpots, "line 2: count 'many' of A"),
        legacy("NaN", "\tA\n1x1\tnan\n", kSpots, "line 2: count 'nan' of A"),
        legacy("SpotTwice", "\tA\n1x1\t1\n1x1\t1\n", kSpots, "line 3: spot 1x1 is there twice"),
        legacy("LyingHeader", "\tA\tB\tC\n1x1\t1\n", kSpots, "line 2: has 2 columns, the header 4"),
        legacy("NoNumbersOfPlaces", kCounts, "x\ty\tpixel_x\tpixel_y\n1\t1\tinf\t10\n",
               "line 2: expected whole numbers"),

        positions("Empty", "", "has no spots"),
        positions("Cut", "AAA-1,1,0,0,10,10\nBBB-1,1,0,2,1", "line 2: has 5 columns, expected 6"),
        positions("Swapped", kMtxHead + "2 2 1\n1 1 1\n", "has 1 columns, expected 6"),
        positions("Huge", "AAA-1,1,0,0,1e308,10\n", "position (10, 1e+308) is out of range"),
        positions("WrongType", "AAA-1,yes,0,0,10,10\n", "line 1: expected a barcode and five numbers"),
        positions("NaN", "AAA-1,1,0,0,10,nan\n", "position (nan, 10) is out of range"),
        positions("BarcodeTwice", "AAA-1,1,0,0,10,10\nAAA-1,1,0,2,10,20\n", "barcode AAA-1 is there twice"),

        scale("Empty", "", "is not a JSON object"),
        scale("Cut", "{\"spot_diameter_fullres\": 7", "is not a JSON object"),
        scale("WrongType", "{\"spot_diameter_fullres\": \"78\"}", "spot_diameter_fullres is \"78\""),
        scale("Huge", "{\"spot_diameter_fullres\": 1e999}", "scalefactors_json.json"),
        scale("Negative", "{\"microns_per_pixel\": -0.27}", "microns_per_pixel is -0.27"),

        mtx("Empty", kBarcodes, kFeatures, "", "matrix.mtx: is empty"),
        mtx("Cut", kBarcodes, kFeatures, kMtxHead + "2 2 3\n1 1 5\n", "1 entries, the head says 3"),
        mtx("Swapped", kFeatures, kBarcodes, kMtxHead + "2 2 1\n1 1 5\n", "expected an id and a name"),
        mtx("Huge", kBarcodes, kFeatures, kMtxHead + "2 2 1\n1 99999999999999 5\n", "is out of range"),
        mtx("WrongType", kBarcodes, kFeatures, kMtxHead + "2 2 1\n1 x 5\n", "expected feature, barcode and count"),
        mtx("NaN", kBarcodes, kFeatures, kMtxHead + "2 2 1\n1 1 nan\n", "count nan"),
        mtx("BarcodeTwice", "AAA-1\nAAA-1\n", kFeatures, kMtxHead + "2 2 1\n1 1 5\n", "barcode AAA-1 is there twice"),
        mtx("LyingHeader", kBarcodes, kFeatures, kMtxHead + "900 2 1\n1 1 5\n",
            "900 features and 2 barcodes, but the tables beside have 2 and 2")),
    [](const auto& param_info) { return param_info.param.name; });

TEST(BrokenInputs, SectionsWithPlacesNameWhatIsWrongWithThem) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& name, const std::vector<hsize_t>& shape, std::vector<double> values) {
    const fs::path path = folder / "section.h5ad";
    fs::remove(path);
    copy_of(kData / "golden/h5ad/spatial_f64.h5ad", path);
    replace(path, name, H5T_NATIVE_DOUBLE, shape, values.data());
    return std::string(error_of([&] { read_h5ad_spots(path); }).what());
  };
  std::vector<double> places(12, 5.0);
  places[7] = NAN;
  EXPECT_THAT(message("obsm/spatial", {6, 2}, places), HasSubstr("section.h5ad: obsm/spatial: value nan in row 3"));
  EXPECT_THAT(message("obsm/spatial", {6, 3}, std::vector<double>(18)),
              HasSubstr("obsm/spatial: has shape [6, 3], expected [6, 2]"));
  EXPECT_THAT(message("obsm/spatial", {5, 2}, std::vector<double>(10)), HasSubstr("has shape [5, 2]"));
}

TEST(BrokenInputs, RowsOfOneNameStayTwoSpots) {
  // Rows of an .h5ad are paired by the file, not by name: HEST cuts barcodes of Visium HD so that they repeat.
  const TemporaryFolder folder;
  AnnData data;
  data.x = {.rows = 2, .genes = {"A"}, .indptr = {0, 1, 2}, .indices = {0, 0}, .values = {1, 2}};
  data.obs.index = {"s_008um_00001", "s_008um_00001"};
  data.spatial = {{10, 20, 30, 40}};
  write_h5ad(folder / "a.h5ad", data);
  const SpotTable spots = read_h5ad_spots(folder / "a.h5ad");
  EXPECT_THAT(spots.x, testing::ElementsAre(10, 30));
  EXPECT_THAT(spots.counts.values, testing::ElementsAre(1, 2));
}

}  // namespace
}  // namespace vtissue::io
