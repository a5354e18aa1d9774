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

bool row_has_entries(const io::ExpressionMatrix& x, std::size_t row) {
  const auto first = x.values.begin() + x.indptr[row];
  const auto last = x.values.begin() + x.indptr[row + 1];
  return std::any_of(first, last, [](float v) { return v != 0.0f; });
}

}  // namespace

ExpressionRows expression_rows(const std::filesystem::path& path, const io::AnnData& table) {
  const std::vector<std::int64_t> columns = whole_numbers(path, table.obs, "cell_column");
  const std::vector<std::int64_t> rows = whole_numbers(path, table.obs, "cell_row");
  const std::size_t n = table.x.rows;
  if (columns.size() != n || rows.size() != n) {
    throw Error(ErrorCode::kBadInput, "{}: {} rows of X, but {} and {} values in obs \"cell_column\" and \"cell_row\"",
                path.string(), n, columns.size(), rows.size());
  }
  ExpressionRows result;
  result.cells.reserve(n);
  constexpr std::int64_t kLimit = std::numeric_limits<std::int32_t>::max();
  for (std::size_t i = 0; i < n; ++i) {
    if (columns[i] < 0 || rows[i] < 0 || columns[i] > kLimit || rows[i] > kLimit) {
      throw Error(ErrorCode::kBadInput, "{}: row {} has tile ({}, {}), which no slide has", path.string(), i,
                  columns[i], rows[i]);
    }
    result.cells.push_back({static_cast<std::int32_t>(columns[i]), static_cast<std::int32_t>(rows[i])});
    if (i > 0 && !(result.cells[i - 1] < result.cells[i])) {
      throw Error(ErrorCode::kBadInput, "{}: tile ({}, {}) in row {} is not after the one before it", path.string(),
                  columns[i], rows[i], i);
    }
  }
  if (table.obs.find("has_expression") != nullptr) {
    const std::vector<std::int64_t> valid = whole_numbers(path, table.obs, "has_expression");
    std::ranges::transform(valid, std::back_inserter(result.valid), [](std::int64_t v) { return v != 0 ? 1 : 0; });
  } else {
    for (std::size_t i = 0; i < n; ++i) result.valid.push_back(row_has_entries(table.x, i) ? 1 : 0);
  }
  if (result.valid.size() != n) {
    throw Error(ErrorCode::kBadInput, "{}: {} rows of X, but {} values in obs \"has_expression\"", path.string(), n,
                result.valid.size());
  }
  return result;
}

}  // namespace vtissue::stages
