#include "stages/encode/expression_rows.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <variant>

#include "core/error.h"

namespace vtissue::stages {
namespace {

/// The column's values as whole numbers, or Error kBadInput.
std::vector<std::int64_t> whole_numbers(const std::filesystem::path& path, const io::AnnTable& obs,
                                        std::string_view name) {
  const io::AnnColumn* column = obs.find(name);
  if (column == nullptr) {
    throw Error(ErrorCode::kBadInput, "{}: obs has no column \"{}\"; the table must come from the express stage",
                path.string(), name);
  }
  if (const auto* integers = std::get_if<std::vector<std::int64_t>>(column)) return *integers;
  if (const auto* flags = std::get_if<std::vector<std::uint8_t>>(column)) return {flags->begin(), flags->end()};
  throw Error(ErrorCode::kBadInput, "{}: column \"{}\" of obs holds no whole numbers", path.string(), name);
}

/// [rows]: 1 where the row has an entry that is not 0. Goes through X.
std::vector<std::uint8_t> rows_with_entries(const io::H5adRows& table) {
  constexpr std::size_t kRowsAtOnce = 1024;
  std::vector<std::uint8_t> result;
  for (std::size_t first = 0; first < table.rows(); first += kRowsAtOnce) {
    const io::ExpressionMatrix x = table.read(first, std::min(kRowsAtOnce, table.rows() - first));
    for (std::size_t row = 0; row < x.rows; ++row) {
      result.push_back(std::any_of(x.values.begin() + x.indptr[row], x.values.begin() + x.indptr[row + 1],
                                   [](float v) { return v != 0.0f; })
                           ? 1
                           : 0);
    }
  }
  return result;
}

}  // namespace

ExpressionRows expression_rows(const std::filesystem::path& path, const io::H5adRows& table) {
  const io::AnnTable& obs = table.table().obs;
  const std::vector<std::int64_t> columns = whole_numbers(path, obs, "cell_column");
  const std::vector<std::int64_t> rows = whole_numbers(path, obs, "cell_row");
  const std::size_t n = table.rows();
  if (columns.size() != n || rows.size() != n) {
    throw Error(ErrorCode::kBadInput, "{}: {} rows of X, but {} and {} values in obs \"cell_column\" and \"cell_row\"",
                path.string(), n, columns.size(), rows.size());
  }
  ExpressionRows result;
  result.cells.reserve(n);
  constexpr std::int64_t kLimit = std::numeric_limits<std::int32_t>::max();
  constexpr std::int64_t kFirst = -65536;  // a shifted lattice begins before the slide's corner, by less than a tile
  for (std::size_t i = 0; i < n; ++i) {
    if (columns[i] < kFirst || rows[i] < kFirst || columns[i] > kLimit || rows[i] > kLimit) {
      throw Error(ErrorCode::kBadInput, "{}: row {} has tile ({}, {}), which no slide has", path.string(), i,
                  columns[i], rows[i]);
    }
    result.cells.push_back({static_cast<std::int32_t>(columns[i]), static_cast<std::int32_t>(rows[i])});
    if (i > 0 && !(result.cells[i - 1] < result.cells[i])) {
      throw Error(ErrorCode::kBadInput, "{}: tile ({}, {}) in row {} is not after the one before it", path.string(),
                  columns[i], rows[i], i);
    }
  }
  if (obs.find("has_expression") != nullptr) {
    const std::vector<std::int64_t> valid = whole_numbers(path, obs, "has_expression");
    std::ranges::transform(valid, std::back_inserter(result.valid), [](std::int64_t v) { return v != 0 ? 1 : 0; });
  } else {
    result.valid = rows_with_entries(table);
  }
  if (result.valid.size() != n) {
    throw Error(ErrorCode::kBadInput, "{}: {} rows of X, but {} values in obs \"has_expression\"", path.string(), n,
                result.valid.size());
  }
  return result;
}

}  // namespace vtissue::stages
