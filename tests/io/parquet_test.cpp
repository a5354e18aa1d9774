#include "io/parquet.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>

#include "io/visium_layout.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// tests/data/spatial/make_files.py
const std::filesystem::path kFolder = std::filesystem::path(VTISSUE_TEST_DATA) / "spatial";
constexpr std::size_t kRows = 6, kColumns = 15;

class ParquetTables : public testing::TestWithParam<std::string> {};

TEST_P(ParquetTables, HoldTheSameBins) {
  const ParquetFile file(kFolder / GetParam());
  EXPECT_EQ(file.rows(), static_cast<std::int64_t>(kRows * kColumns));
  EXPECT_THAT(file.columns(), ElementsAre("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres",
                                          "pxl_col_in_fullres"));
  const TissuePositions positions = read_tissue_positions(kFolder / GetParam());
  ASSERT_EQ(positions.barcodes.size(), kRows * kColumns);
  for (std::size_t i = 0; i < positions.barcodes.size(); ++i) {
    const std::size_t row = i / kColumns, column = i % kColumns;
    EXPECT_EQ(positions.barcodes[i], fmt::format("s_008um_{:05}_{:05}-1", row, column));
    EXPECT_EQ(positions.in_tissue[i], i >= 2 ? 1 : 0);
    EXPECT_EQ(positions.array_row[i], static_cast<std::int64_t>(row));
    EXPECT_EQ(positions.array_column[i], static_cast<std::int64_t>(column));
    EXPECT_EQ(positions.x[i], 1000.5 + 30.0 * static_cast<double>(column));
    EXPECT_EQ(positions.y[i], 500.25 + 30.0 * static_cast<double>(row));
  }
}

INSTANTIATE_TEST_SUITE_P(Written, ParquetTables,
                         testing::Values("polars_zstd.parquet", "pandas_snappy.parquet", "gzip_groups.parquet",
                                         "plain_v2.parquet", "zstd_v2.parquet", "required_other_types.parquet"),
                         [](const auto& param_info) { return param_info.param.substr(0, param_info.param.find('.')); });

std::string refusal(const std::filesystem::path& path) {
  const Error error = error_of([&] { read_tissue_positions(path); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  return error.what();
}

TEST(Parquet, WhatIsNotReadIsNamedWithTheRemedy) {
  EXPECT_THAT(refusal(kFolder / "bad_lz4.parquet"),
              AllOf(HasSubstr("bad_lz4.parquet: column 'barcode': it is compressed by LZ4"),
                    HasSubstr("pandas.read_parquet('bad_lz4.parquet').to_csv('bad_lz4.csv', index=False)")));
  EXPECT_THAT(refusal(kFolder / "bad_delta.parquet"),
              HasSubstr("column 'array_row': it is encoded as DELTA_BINARY_PACKED"));
  EXPECT_THAT(refusal(kFolder / "bad_empty_cell.parquet"), HasSubstr("column 'pxl_row_in_fullres': row 42 is empty"));
  EXPECT_THAT(refusal(kFolder / "bad_nested.parquet"), HasSubstr("in_tissue"));
  const ParquetFile file(kFolder / "polars_zstd.parquet");
  EXPECT_THAT(error_of([&] { file.numbers("x"); }).what(), HasSubstr("has no column 'x' (it has: barcode, in_tissue"));
  EXPECT_THAT(error_of([&] { file.numbers("barcode"); }).what(), HasSubstr("does not hold numbers"));
  EXPECT_THAT(error_of([&] { file.strings("array_row"); }).what(), HasSubstr("does not hold strings"));
}

std::string bytes_of(const std::string& name) {
  std::ifstream stream(kFolder / name, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST(Parquet, DamagedFilesAreRefused) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& bytes) { return refusal(write_text(folder / "p.parquet", bytes)); };
  const std::string whole = bytes_of("zstd_v2.parquet");
  EXPECT_THAT(refusal(folder / "none.parquet"), HasSubstr("no such file"));
  EXPECT_THAT(message("PAR1"), HasSubstr("without its end"));
  EXPECT_THAT(message(whole.substr(0, whole.size() / 2)), HasSubstr("without its end"));
  EXPECT_THAT(message(whole.substr(0, whole.size() - 4) + "PARE"), HasSubstr("is encrypted"));
  std::string footer = whole;
  footer.replace(footer.size() - 8, 4, "\xff\xff\xff\x7f");
  EXPECT_THAT(message(footer), HasSubstr("says that its footer has 2147483647 bytes"));
  std::string page = whole;
  page[40] = static_cast<char>(page[40] ^ 0x10);
  EXPECT_THAT(message(page), HasSubstr("column 'barcode': "));
}

TEST(Parquet, NoChangedByteIsACrash) {
  const TemporaryFolder folder;
  for (const char* name : {"polars_zstd.parquet", "pandas_snappy.parquet", "plain_v2.parquet"}) {
    const std::string whole = bytes_of(name);
    for (std::size_t at = 4; at < whole.size(); at += 17) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(~bytes[at]);
      const auto path = write_text(folder / "p.parquet", bytes);
      try {
        const TissuePositions positions = read_tissue_positions(path);
        EXPECT_EQ(positions.x.size(), positions.barcodes.size());
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kBadInput) << at;
      }
    }
  }
}

TEST(ParquetRealData, PositionsOfVisiumHd) {
  for (const auto& [bins, spots] :
       {std::pair<const char*, std::size_t>{"square_008um", 4992}, {"square_016um", 1248}}) {
    const auto path = real_data(
        fmt::format("visium/seurat_fixtures/visium_hd/binned_outputs/{}/spatial/tissue_positions.parquet", bins));
    if (!path) GTEST_SKIP() << "set VTISSUE_DATA to the folder with visium/seurat_fixtures";
    EXPECT_EQ(read_tissue_positions(*path).barcodes.size(), spots);
  }
}

}  // namespace
}  // namespace vtissue::io
