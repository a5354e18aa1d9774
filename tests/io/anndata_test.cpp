#include "io/anndata.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "core/hash.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::filesystem::path kFolder = std::filesystem::path(VTISSUE_TEST_DATA) / "golden" / "h5ad";

json expectations() {
  std::ifstream stream(kFolder / "expected.json");
  json all = json::parse(stream);
  all.erase("_written_by");
  return all;
}

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  const json all = expectations();
  for (const auto& [name, value] : all.items()) names.push_back(name);
  return names;
}

std::string test_name(const testing::TestParamInfo<std::string>& param) {
  std::string name = param.param;
  std::ranges::replace_if(
      name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
}

std::vector<float> dense(const ExpressionMatrix& matrix) {
  std::vector<float> values(matrix.rows * matrix.genes.size(), 0.0f);
  for (std::size_t row = 0; row < matrix.rows; ++row) {
    for (auto i = matrix.indptr[row]; i < matrix.indptr[row + 1]; ++i) {
      const auto at = static_cast<std::size_t>(i);
      values[row * matrix.genes.size() + static_cast<std::size_t>(matrix.indices[at])] = matrix.values[at];
    }
  }
  return values;
}

std::vector<float> flat(const json& rows) {
  std::vector<float> values;
  for (const json& row : rows) {
    for (const json& value : row) values.push_back(value.get<float>());
  }
  return values;
}

/// A value as expected.json writes it: missing is null.
bool same_value(const AnnColumn& column, std::size_t row, const json& expected) {
  if (const auto* strings = std::get_if<std::vector<std::string>>(&column)) {
    return (*strings)[row] == (expected.is_null() ? "" : expected.get<std::string>());
  }
  if (const auto* bools = std::get_if<std::vector<std::uint8_t>>(&column)) {
    return expected.is_boolean() && ((*bools)[row] != 0) == expected.get<bool>();
  }
  if (const auto* integers = std::get_if<std::vector<std::int64_t>>(&column)) {
    return expected.is_number() && (*integers)[row] == expected.get<std::int64_t>();
  }
  const double value = std::get<std::vector<double>>(column)[row];
  if (expected.is_null()) return std::isnan(value);
  return value == (expected.is_boolean() ? (expected.get<bool>() ? 1.0 : 0.0) : expected.get<double>());
}

void expect_columns(const AnnTable& table, const json& expected) {
  EXPECT_EQ(table.columns.size(), expected.size());
  for (const auto& [name, values] : expected.items()) {
    const AnnColumn* column = table.find(name);
    ASSERT_NE(column, nullptr) << name;
    for (std::size_t row = 0; row < values.size(); ++row) {
      EXPECT_TRUE(same_value(*column, row, values[row])) << name << " row " << row << " " << values[row];
    }
  }
}

class AnnDataFiles : public testing::TestWithParam<std::string> {};

TEST_P(AnnDataFiles, AreReadOrRefused) {
  const json all = expectations();
  json expected = all.at(GetParam());
  if (expected.contains("same_as")) expected = all.at(expected.at("same_as").get<std::string>());
  const std::filesystem::path path = kFolder / GetParam();
  if (expected.at("ok").is_null()) {  // a layout that may be refused
    const AnnData data = read_h5ad(path);
    EXPECT_EQ(data.obs.index, expected.at("obs_names").get<std::vector<std::string>>());
    EXPECT_EQ(data.x.genes, expected.at("var_names").get<std::vector<std::string>>());
    EXPECT_EQ(dense(data.x), flat(expected.at("X")));
    return;
  }
  if (!expected.at("ok").get<bool>()) {
    const Error error = error_of([&] { read_h5ad(path); });
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    EXPECT_THAT(error.what(), HasSubstr(GetParam()));
    return;
  }
  const AnnData data = read_h5ad(path);
  EXPECT_EQ(data.obs.index, expected.at("obs_names").get<std::vector<std::string>>());
  EXPECT_EQ(data.x.genes, expected.at("var_names").get<std::vector<std::string>>());
  const json expected_x = expected.value("X", json());
  EXPECT_EQ(data.has_x, !expected_x.is_null());
  EXPECT_EQ(data.has_x ? dense(data.x) : std::vector<float>{}, flat(expected_x));
  EXPECT_TRUE(std::ranges::is_sorted(data.x.indptr));
  expect_columns(data.obs, expected.at("obs_columns"));
  expect_columns(data.var, expected.at("var_columns"));
  if (expected.at("var_columns").contains("gene_ids")) {
    EXPECT_EQ(data.x.gene_ids, expected.at("var_columns").at("gene_ids").get<std::vector<std::string>>());
  }
  const bool has_spatial = expected.at("obsm").contains("spatial");
  ASSERT_EQ(data.spatial.has_value(), has_spatial);
  if (has_spatial) {
    std::vector<double> spatial;
    for (const json& row : expected.at("obsm").at("spatial").at("values")) {
      for (const json& value : row) spatial.push_back(value.get<double>());
    }
    EXPECT_EQ(*data.spatial, spatial);
  }
  for (const auto& [layer, rows] : expected.at("layers").items()) {
    EXPECT_EQ(dense(read_h5ad(path, {.matrix = "layers/" + layer}).x), flat(rows)) << layer;
  }
  if (expected.contains("raw")) {
    const AnnData raw = read_h5ad(path, {.matrix = "raw/X"});
    EXPECT_EQ(raw.x.genes, expected.at("raw").at("var_names").get<std::vector<std::string>>());
    EXPECT_EQ(dense(raw.x), flat(expected.at("raw").at("X")));
  }
  if (expected.contains("uns_scalefactors")) {
    for (const auto& [name, value] : expected.at("uns_scalefactors").items()) {
      EXPECT_EQ(data.numbers.at("spatial/lib_1/scalefactors/" + name), value.get<double>());
    }
  }
}

TEST_P(AnnDataFiles, RowsByRangesAreTheWholeMatrix) {
  const std::filesystem::path path = kFolder / GetParam();
  std::optional<AnnData> readable;
  try {
    readable = read_h5ad(path);
  } catch (const Error& error) {
    const Error by_rows = error_of([&] {
      const H5adRows rows(path);
      rows.read(0, rows.rows());
    });
    EXPECT_EQ(std::string(by_rows.what()), error.what());
    return;
  }
  if (!readable->has_x) {
    EXPECT_THAT(error_of([&] { H5adRows{path}; }).what(), HasSubstr("has no matrix X"));
    return;
  }
  const AnnData& whole = *readable;
  const H5adRows rows(path);
  ASSERT_EQ(rows.rows(), whole.x.rows);
  EXPECT_EQ(rows.table().x.genes, whole.x.genes);
  EXPECT_EQ(rows.table().strings, whole.strings);
  EXPECT_EQ(rows.table().obs.index, whole.obs.index);
  for (std::size_t first = 0; first <= whole.x.rows; ++first) {
    for (std::size_t count = 0; first + count <= whole.x.rows; ++count) {
      const ExpressionMatrix part = rows.read(first, count);
      std::vector<std::size_t> wanted(count);
      std::iota(wanted.begin(), wanted.end(), first);
      const ExpressionMatrix expected = select_rows(whole.x, wanted);
      EXPECT_EQ(part.rows, count);
      EXPECT_EQ(part.indptr, expected.indptr);
      EXPECT_EQ(part.indices, expected.indices);
      EXPECT_EQ(part.values, expected.values);
    }
  }
  EXPECT_THROW(rows.read(0, whole.x.rows + 1), std::logic_error);
  EXPECT_THROW(rows.read(whole.x.rows + 1, 0), std::logic_error);
}

INSTANTIATE_TEST_SUITE_P(Golden, AnnDataFiles, testing::ValuesIn(case_names()), test_name);

TEST(AnnData, RefusalsNameTheReason) {
  const std::map<std::string, std::string> reasons{
      {"bad_indptr.h5ad", "X/indptr: falls"},
      {"bad_indptr_end.h5ad", "values"},
      {"bad_index_range.h5ad", "index 77 of 5"},
      {"bad_row_count.h5ad", "obs/in_tissue: has 6 values, the table has 4 rows"},
      {"bad_no_index.h5ad", "obs: has no _index attribute"},
      {"bad_categorical_code.h5ad", "category code 9 of 4"},
      {"bad_shape_attr.h5ad", "not negative"},
      {"bad_truncated.h5ad", "truncated"},
  };
  for (const auto& [file, reason] : reasons) {
    EXPECT_THAT(error_of([&] { read_h5ad(kFolder / file); }).what(), HasSubstr(reason)) << file;
  }
  EXPECT_THAT(error_of([&] { read_h5ad(kFolder / "csr.h5ad", {.matrix = "layers/counts"}); }).what(),
              HasSubstr("has no matrix 'layers/counts' (it has: X)"));
}

const std::filesystem::path kOldFolder = std::filesystem::path(VTISSUE_TEST_DATA) / "spatial";
constexpr std::array<float, 12> kOldCounts{2, 0, 1, 0, 3, 0, 4, 0, 5, 0, 0, 6};

void expect_old_tables(const AnnData& data) {
  EXPECT_THAT(data.obs.index, testing::ElementsAre("AAAC-1", "CCCG-1", "GGGT-1", "TTTA-1"));
  ASSERT_NE(data.obs.strings("cluster"), nullptr);
  EXPECT_THAT(*data.obs.strings("cluster"), testing::ElementsAre("tumour", "stroma", "tumour", "tumour"));
  ASSERT_TRUE(data.spatial.has_value());
  EXPECT_THAT(*data.spatial, testing::ElementsAre(10.5, 20, 30, 40, 50, 60, 70, 80.25));
}

TEST(AnnData, Version06HasCompoundTablesAndRawBesideX) {
  const AnnData data = read_h5ad(kOldFolder / "anndata_0.6.h5ad");
  expect_old_tables(data);
  EXPECT_EQ(data.obs.numbers("in_tissue"), (std::vector<double>{1, 1, 0, 1}));
  EXPECT_EQ(data.obs.numbers("n_counts"), (std::vector<double>{3, 3, 9, 6}));
  EXPECT_FLOAT_EQ(dense(data.x)[0], std::log1p(2.0f));
  EXPECT_THAT(data.matrices, testing::ElementsAre("X", "raw/X"));
  const AnnData raw = read_h5ad(kOldFolder / "anndata_0.6.h5ad", {.matrix = "raw/X"});
  EXPECT_THAT(raw.x.genes, testing::ElementsAre("PMEL", "CD8A", "KRT5", "ACTB"));
  const std::vector<float> counts = dense(raw.x);
  for (std::size_t row = 0; row < 4; ++row) {
    EXPECT_EQ(counts[4 * row + 3], 7);
    for (std::size_t gene = 0; gene < 3; ++gene) EXPECT_EQ(counts[4 * row + gene], kOldCounts[3 * row + gene]);
  }
}

TEST(AnnData, Version07RefersToItsCategories) {
  const AnnData data = read_h5ad(kOldFolder / "anndata_0.7.h5ad");
  expect_old_tables(data);
  EXPECT_THAT(dense(data.x), testing::ElementsAreArray(kOldCounts));
}

TEST(AnnData, DamagedGzipIsRefusedAndLeavesNothingBehind) {
  const TemporaryFolder folder;
  const auto cut = folder / "cut.h5ad.gz";
  std::filesystem::copy_file(kFolder / "dense_f32.h5ad.gz", cut);
  std::filesystem::permissions(cut, std::filesystem::perms::owner_all);
  std::filesystem::resize_file(cut, std::filesystem::file_size(cut) / 2);
  const Error error = error_of([&] { read_h5ad(cut); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("cut.h5ad.gz"));
}

AnnData example() {
  AnnData data;
  data.x.rows = 3;
  data.x.genes = {"PMEL", "CD8A"};
  data.x.gene_ids = {"ENSG00000185664", "ENSG00000153563"};
  data.x.indptr = {0, 1, 1, 3};
  data.x.indices = {1, 0, 1};
  data.x.values = {2.5f, 1.0f, 3.0f};
  data.obs.index = {"4_0", "4_2", "µ"};
  data.obs.columns = {{"column", std::vector<std::int64_t>{4, 4, 6}},
                      {"score", std::vector<double>{0.5, std::nan(""), 2}},
                      {"label", std::vector<std::string>{"a", "b", ""}},
                      {"valid", std::vector<std::uint8_t>{1, 0, 1}}};
  data.spatial = {{1.5, 2.5, -3, 4, 5, 6}};
  data.strings = {{"vtissue/expression_source", "predicted"}, {"title", "x"}};
  data.numbers = {{"vtissue/tile_px", 128}};
  return data;
}

TEST(AnnData, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  const AnnData data = example();
  write_h5ad(folder / "a.h5ad", data);
  const AnnData read = read_h5ad(folder / "a.h5ad");
  EXPECT_EQ(read.x.genes, data.x.genes);
  EXPECT_EQ(read.x.gene_ids, data.x.gene_ids);
  EXPECT_EQ(read.x.indptr, data.x.indptr);
  EXPECT_EQ(read.x.indices, data.x.indices);
  EXPECT_EQ(read.x.values, data.x.values);
  EXPECT_EQ(read.obs.index, data.obs.index);
  ASSERT_EQ(read.obs.columns.size(), 4u);
  EXPECT_EQ(read.obs.columns[0], data.obs.columns[0]);
  EXPECT_TRUE(std::isnan(std::get<std::vector<double>>(read.obs.columns[1].second)[1]));
  EXPECT_EQ(read.obs.columns[2], data.obs.columns[2]);
  EXPECT_EQ(read.obs.columns[3], data.obs.columns[3]);
  EXPECT_EQ(read.spatial, data.spatial);
  EXPECT_EQ(read.strings, data.strings);
  EXPECT_EQ(read.numbers, data.numbers);
}

TEST(AnnData, NoRowsAndNoColumnsAreWritten) {
  const TemporaryFolder folder;
  AnnData data;
  data.x.indptr = {0};
  data.x.genes = {"PMEL"};
  write_h5ad(folder / "a.h5ad", data);
  const AnnData read = read_h5ad(folder / "a.h5ad");
  EXPECT_EQ(read.x.rows, 0u);
  EXPECT_EQ(read.x.genes, data.x.genes);
  EXPECT_TRUE(read.obs.columns.empty());
}

TEST(AnnData, EqualDataGivesEqualBytes) {
  const TemporaryFolder folder;
  write_h5ad(folder / "a.h5ad", example());
  write_h5ad(folder / "b.h5ad", example());
  EXPECT_EQ(sha256_file(folder / "a.h5ad"), sha256_file(folder / "b.h5ad"));
}

TEST(AnnData, ManyRowsCrossChunks) {
  const TemporaryFolder folder;
  AnnData data;
  data.x.rows = 3000;
  for (int gene = 0; gene < 700; ++gene) data.x.genes.push_back("G" + std::to_string(gene));
  data.x.indptr.push_back(0);
  for (std::size_t row = 0; row < data.x.rows; ++row) {
    data.obs.index.push_back(std::to_string(row));
    for (std::size_t k = 0; k < row % 3; ++k) {
      data.x.indices.push_back(static_cast<std::int32_t>((row + 400 * k) % 700));
      data.x.values.push_back(static_cast<float>(row + 1));
    }
    const auto begin = data.x.indices.end() - static_cast<std::ptrdiff_t>(row % 3);
    std::sort(begin, data.x.indices.end());
    data.x.indptr.push_back(static_cast<std::int64_t>(data.x.values.size()));
  }
  write_h5ad(folder / "a.h5ad", data);
  const AnnData read = read_h5ad(folder / "a.h5ad");
  EXPECT_EQ(read.x.indptr, data.x.indptr);
  EXPECT_EQ(read.x.indices, data.x.indices);
  EXPECT_EQ(read.x.values, data.x.values);
}

TEST(AnnData, BytesDoNotDependOnTheRowsAppendedAtOnce) {
  const TemporaryFolder folder;
  constexpr std::size_t kRows = 1300, kGenes = 700;
  AnnData rest;
  for (std::size_t gene = 0; gene < kGenes; ++gene) rest.x.genes.push_back("G" + std::to_string(gene));
  for (std::size_t row = 0; row < kRows; ++row) rest.obs.index.push_back(std::to_string(row));
  std::vector<float> values(kRows * kGenes);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 977);
  for (const std::size_t at_once : {std::size_t{1}, std::size_t{256}, kRows}) {
    H5adWriter writer(folder / std::to_string(at_once), kRows, kGenes);
    for (std::size_t first = 0; first < kRows; first += at_once) {
      const std::size_t count = std::min(at_once, kRows - first);
      writer.append(std::span(values).subspan(first * kGenes, count * kGenes));
    }
    writer.finish(rest);
  }
  EXPECT_EQ(sha256_file(folder / "1"), sha256_file(folder / "256"));
  EXPECT_EQ(sha256_file(folder / "1"), sha256_file(folder / std::to_string(kRows)));
  EXPECT_EQ(dense(read_h5ad(folder / "1").x), values);
}

TEST(AnnData, RowsThatAreMissingOrTooManyLeaveNoFile) {
  const TemporaryFolder folder;
  AnnData rest;
  rest.x.genes = {"PMEL", "MITF"};
  rest.obs.index = {"a", "b"};
  const std::vector<float> row{1, 2};
  {
    H5adWriter writer(folder / "short.h5ad", 2, 2);
    writer.append(row);
    EXPECT_THROW(writer.finish(rest), std::logic_error);
  }
  {
    H5adWriter writer(folder / "long.h5ad", 2, 2);
    writer.append(row);
    writer.append(row);
    EXPECT_THROW(writer.append(row), std::logic_error);
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "short.h5ad"));
  EXPECT_FALSE(std::filesystem::exists(folder / "long.h5ad"));
}

TEST(AnnData, LengthsThatDoNotFitAreLogicErrors) {
  const TemporaryFolder folder;
  AnnData data = example();
  data.obs.index.pop_back();
  EXPECT_THROW(write_h5ad(folder / "a.h5ad", data), std::logic_error);
  data = example();
  data.obs.columns.emplace_back("short", std::vector<double>{1});
  EXPECT_THROW(write_h5ad(folder / "a.h5ad", data), std::logic_error);
  EXPECT_FALSE(std::filesystem::exists(folder / "a.h5ad"));
}

}  // namespace
}  // namespace vtissue::io
