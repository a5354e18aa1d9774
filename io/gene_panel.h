#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/expression.h"

namespace vtissue::io {

/// Where the genes of a model's panel are in a table of spots.
struct PanelMatch {
  std::vector<std::string> genes;     ///< the panel, as given
  std::vector<std::int32_t> columns;  ///< for each column of the table its place in the panel, or -1
  std::vector<std::string> missing;   ///< panel genes that the table does not have
  std::string matched_by;             ///< "symbol", "Ensembl id" or "symbol ignoring case"
  std::string hint;                   ///< what may be wrong where few genes match: "symbols look like mouse …"

  std::size_t matched() const { return genes.size() - missing.size(); }
  double matched_fraction() const;
  /// Throws Error kBadInput that names the file, the numbers and the likely cause if less than
  /// `fraction_min` (0..1) of the panel is there.
  void require_matched(double fraction_min, std::string_view file) const;
};

/// Finds the panel's genes in the table: by exact symbol; by Ensembl id without its version if
/// the panel lists ids; else, where fewer than half are found and the symbols of both sides do not look
/// like different species, by symbol ignoring case. Prefixes of a reference ("GRCh38_ACTB") are taken off where they
/// keep every name from matching. Columns that match the same gene are added up.
PanelMatch match_genes(std::span<const std::string> symbols, std::span<const std::string> gene_ids,
                       std::span<const std::string> panel);

/// Keeps what match_genes() finds. `panel` must outlive it.
GeneFilter panel_filter(std::span<const std::string> panel);

/// [spots] total count of each spot over all genes of the file; 0: nothing was measured there. Of log-normalised values
/// the sum of what expm1 makes of them.
std::vector<double> spot_totals(const SpotTable& spots);

/// Expression of a model's genes: log1p of counts per 10,000, the total taken over all genes of the file.
struct PanelExpression : PanelMatch {
  std::size_t spots = 0;
  std::vector<float> values;  ///< [spots, genes]; 0 for a gene the file does not have
  std::vector<float> counts;  ///< [spots, genes] counts as in the file; empty for log-normalised input
  std::vector<float> totals;  ///< [spots] as spot_totals()
};

/// match_genes() and the matched genes of all spots, dense.
PanelExpression match_panel(const SpotTable& spots, std::span<const std::string> panel);

/// Expression of the panel's genes in some spots at a time, for tables whose dense form is too large. Keeps views of
/// `spots` and `match`. One thread at a time.
class PanelRows {
 public:
  PanelRows(const SpotTable& spots, const PanelMatch& match);

  struct Entry {
    std::int32_t gene;  ///< place in the panel
    double value;       ///< linear: a count, or expm1 of a log-normalised value
  };
  /// The spot's values of panel genes that are not 0, by ascending gene; valid until the next call.
  std::span<const Entry> spot(std::size_t spot);
  /// Total of the spot over all genes of the file (spot_totals()).
  double total(std::size_t spot) const { return totals_[spot]; }
  /// log1p of counts per 10,000 of a linear value that belongs to this total.
  float log_value(double value, double total) const;
  std::size_t genes() const { return match_.genes.size(); }

 private:
  const SpotTable& spots_;
  const PanelMatch& match_;
  std::vector<double> totals_, sums_;
  std::vector<Entry> entries_;
};

}  // namespace vtissue::io
