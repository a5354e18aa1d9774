#pragma once

#include <span>
#include <string>
#include <vector>

#include "io/anndata.h"
#include "stages/encode/expression_rows.h"
#include "stages/perturb/gene_change.h"

namespace vtissue::stages {

/// The genes of an expression table over the tiles that have expression, log1p of counts per 10,000.
struct GeneSpreads {
  std::vector<GeneSpread> genes;  ///< [genes of the table], in its order
  double most = 0;                ///< the largest value of any gene
  std::size_t tiles = 0;          ///< with expression
};

/// Goes through the table once, by blocks. In double; the same for any number of threads.
GeneSpreads gene_spreads(const io::H5adRows& table, const ExpressionRows& rows);

/// Changes bound to the columns of a table. Throws Error kUsage for a gene that the table does not have (with the
/// nearest names, and whether the encoder would read it), one that does not vary where standard deviations are asked
/// for, and if the encoder reads none of the genes. `spreads` may be empty where only the names are to be checked.
struct BoundChanges {
  std::vector<std::size_t> columns;         ///< of the table, by change
  std::vector<AppliedChange> changes;       ///< empty without spreads
  std::vector<std::string> not_in_encoder;  ///< genes whose change has no effect
};
BoundChanges bind_changes(std::span<const GeneChange> changes, std::span<const std::string> table_genes,
                          std::span<const std::string> encoder_genes, const GeneSpreads* spreads);

}  // namespace vtissue::stages
