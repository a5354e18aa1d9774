#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/expression.h"

namespace vtissue::stages {

/// Which column of a table each gene of an encoder is in, by symbol.
struct GeneMatch {
  /// [columns of the table]: index among the wanted genes, or -1. Of columns with the same symbol the
  /// first is taken.
  std::vector<std::int32_t> gene_of_column;
  std::size_t wanted = 0;
  std::size_t matched = 0;
  std::size_t duplicates = 0;  ///< columns left out because their symbol came before

  double fraction() const { return wanted == 0 ? 0.0 : static_cast<double>(matched) / static_cast<double>(wanted); }
};

GeneMatch match_genes(std::span<const std::string> wanted, std::span<const std::string> columns);

/// All rows as dense [rows, wanted]; genes that the table lacks are 0.
std::vector<float> gather_rows(const io::ExpressionMatrix& x, const GeneMatch& match);

}  // namespace vtissue::stages
