#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "core/units.h"
#include "io/anndata.h"

namespace vtissue::stages {

/// Whose expression each row of the express stage's table is.
struct ExpressionRows {
  std::vector<TileCell> cells;      ///< sorted, unique
  std::vector<std::uint8_t> valid;  ///< [rows]: 1 where the tile has expression
};

/// From the obs columns "cell_column" and "cell_row" (half tiles) and, where there is one, "has_expression";
/// without it a row is valid if it has any entry that is not 0. `path` for messages. Throws Error kBadInput.
ExpressionRows expression_rows(const std::filesystem::path& path, const io::H5adRows& table);

}  // namespace vtissue::stages
