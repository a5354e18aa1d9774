#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/expression.h"

namespace vtissue::io {

/// Expression of a model's genes: log1p of counts per 10,000, the total taken over all genes of the file.
struct PanelExpression {
  std::size_t spots = 0;
  std::vector<std::string> genes;    ///< the panel, as given
  std::vector<float> values;         ///< [spots, genes]; 0 for a gene the file does not have
  std::vector<float> counts;         ///< [spots, genes] counts as in the file; empty for log-normalised input
  std::vector<float> totals;         ///< [spots] total count; 0: nothing was measured there
  std::vector<std::string> missing;  ///< panel genes that the file does not have
  std::string matched_by;            ///< "symbol", "Ensembl id" or "symbol ignoring case"
  std::string hint;                  ///< what may be wrong where few genes match: "symbols look like mouse …"

  std::size_t matched() const { return genes.size() - missing.size(); }
  double matched_fraction() const;
  /// Throws Error kBadInput that names the file, the numbers and the likely cause if less than
  /// `fraction_min` (0..1) of the panel is there.
  void require_matched(double fraction_min, std::string_view file) const;
};

/// Finds the panel's genes in the spots' table: by exact symbol; by Ensembl id without its version if
/// the panel lists ids; else, where fewer than half are found and the symbols of both sides do not look
/// like different species, by symbol ignoring case. Columns that match the same gene are added up.
PanelExpression match_panel(const SpotTable& spots, std::span<const std::string> panel);

}  // namespace vtissue::io
