#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

#include "core/error.h"
#include "io/delimited.h"
#include "io/parquet.h"
#include "io/visium_layout.h"

namespace vtissue::io {
namespace fs = std::filesystem;

namespace {

/// In Space Ranger's order.
constexpr std::array<std::string_view, 6> kPositionColumns{"barcode",   "in_tissue",          "array_row",
                                                           "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres"};
constexpr double kLargestArrayIndex = 1e6;

/// What is wrong with a spot; null: nothing.
std::string position_defect(double in_tissue, double row, double column, double x, double y) {
  if (!std::isfinite(x) || !std::isfinite(y) || std::abs(x) > 1e9 || std::abs(y) > 1e9) {
    return fmt::format("position ({}, {}) is out of range", x, y);
  }
  if (!(std::abs(row) <= kLargestArrayIndex) || !(std::abs(column) <= kLargestArrayIndex) || row != std::floor(row) ||
      column != std::floor(column)) {
    return fmt::format("array position ({}, {}) is out of range", row, column);
  }
  if (in_tissue != 0 && in_tissue != 1) return fmt::format("in_tissue is {}, expected 0 or 1", in_tissue);
  return "";
}

void append_position(TissuePositions& positions, std::string_view barcode, double in_tissue, double row, double column,
                     double x, double y) {
  positions.barcodes.emplace_back(barcode);
  positions.in_tissue.push_back(in_tissue == 1 ? 1 : 0);
  positions.array_row.push_back(static_cast<std::int64_t>(row));
  positions.array_column.push_back(static_cast<std::int64_t>(column));
  positions.x.push_back(x);
  positions.y.push_back(y);
}

/// Where the six columns are: as the header names them, else in Space Ranger's order.
std::array<std::size_t, 6> position_columns(const std::vector<std::string_view>& header) {
  std::array<std::size_t, 6> order{0, 1, 2, 3, 4, 5};
  std::array<std::size_t, 6> named{};
  for (std::size_t i = 0; i < kPositionColumns.size(); ++i) {
    const auto found = std::ranges::find(header, kPositionColumns[i]);
    if (found == header.end()) return order;
    named[i] = static_cast<std::size_t>(found - header.begin());
  }
  return named;
}

TissuePositions read_positions_text(const fs::path& path) {
  TissuePositions positions;
  LineReader reader(path);
  std::vector<std::string_view> fields;
  std::array<std::size_t, 6> order{0, 1, 2, 3, 4, 5};
  std::size_t columns = kPositionColumns.size();
  for (std::string_view line; reader.next(line);) {
    if (line.empty()) continue;
    split_fields(line, ',', fields);
    // Space Ranger's own rule; the file's name does not tell whether there is a header.
    if (reader.line_number() == 1 && line.find_first_of("0123456789") == std::string_view::npos) {
      order = position_columns(fields);
      columns = std::max(columns, fields.size());
      continue;
    }
    if (fields.size() != columns) reader.fail(fmt::format("has {} columns, expected {}", fields.size(), columns));
    const auto in_tissue = parse_number(fields[order[1]]);
    const auto row = parse_number(fields[order[2]]), column = parse_number(fields[order[3]]);
    const auto y = parse_number(fields[order[4]]), x = parse_number(fields[order[5]]);
    if (!in_tissue || !row || !column || !y || !x) reader.fail("expected a barcode and five numbers");
    if (const std::string defect = position_defect(*in_tissue, *row, *column, *x, *y); !defect.empty())
      reader.fail(defect);
    append_position(positions, fields[order[0]], *in_tissue, *row, *column, *x, *y);
  }
  return positions;
}

TissuePositions read_positions_parquet(const fs::path& path) {
  const ParquetFile file(path);
  TissuePositions positions;
  std::array<std::vector<double>, 5> numbers;
  positions.barcodes = file.strings(std::string(kPositionColumns[0]));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = file.numbers(std::string(kPositionColumns[i + 1]));
  const std::size_t n = positions.barcodes.size();
  positions.in_tissue.resize(n), positions.array_row.resize(n), positions.array_column.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    const std::string defect =
        position_defect(numbers[0][i], numbers[1][i], numbers[2][i], numbers[4][i], numbers[3][i]);
    if (!defect.empty()) throw Error(ErrorCode::kBadInput, "{}, row {}: {}", path.string(), i + 1, defect);
    positions.in_tissue[i] = numbers[0][i] == 1 ? 1 : 0;
    positions.array_row[i] = static_cast<std::int64_t>(numbers[1][i]);
    positions.array_column[i] = static_cast<std::int64_t>(numbers[2][i]);
  }
  positions.y = std::move(numbers[3]);
  positions.x = std::move(numbers[4]);
  return positions;
}

void require_unique_barcodes(const TissuePositions& positions, const fs::path& path) {
  std::unordered_map<std::string_view, std::size_t> seen;
  seen.reserve(positions.barcodes.size());
  for (std::size_t i = 0; i < positions.barcodes.size(); ++i) {
    const auto [first, inserted] = seen.emplace(positions.barcodes[i], i);
    if (!inserted) {
      throw Error(ErrorCode::kBadInput, "{}: barcode {} is there twice, as spot {} and spot {}", path.string(),
                  positions.barcodes[i], first->second + 1, i + 1);
    }
  }
}

}  // namespace

TissuePositions read_tissue_positions(const fs::path& path) {
  TissuePositions positions = is_parquet(path) ? read_positions_parquet(path) : read_positions_text(path);
  if (positions.barcodes.empty()) throw Error(ErrorCode::kBadInput, "{}: has no spots", path.string());
  require_unique_barcodes(positions, path);
  return positions;
}

}  // namespace vtissue::io
