#include "stages/perturb/gene_spread.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace vtissue::stages {
namespace {

constexpr std::size_t kSpreadBlock = 1024;
constexpr std::size_t kNamed = 5;  // nearest names in a message

[[noreturn]] void throw_unknown_gene(const std::string& gene, std::span<const std::string> table_genes,
                                     std::span<const std::string> encoder_genes) {
  if (std::ranges::find(encoder_genes, gene) != encoder_genes.end()) {
    throw Error(ErrorCode::kUsage,
                "gene {} is one that the gene encoder reads, but the run's expression does not have it: it counts as 0 "
                "everywhere and cannot be changed; use a measurement or a predictor that has it",
                gene);
  }
  throw Error(
      ErrorCode::kUsage,
      "gene {} is not in the run's expression ({} genes), nor does the gene encoder read it; the nearest names are {}",
      gene, table_genes.size(), fmt::join(nearest_names(gene, table_genes, kNamed), ", "));
}

}  // namespace

GeneSpreads gene_spreads(const io::H5adRows& table, const ExpressionRows& rows) {
  const std::size_t genes = table.table().x.genes.size();
  std::vector<double> sum(genes), squares(genes);
  GeneSpreads result;
  for (std::size_t first = 0; first < table.rows(); first += kSpreadBlock) {
    const io::ExpressionMatrix x = table.read(first, std::min(kSpreadBlock, table.rows() - first));
    for (std::size_t row = 0; row < x.rows; ++row) {
      if (rows.valid[first + row] == 0) continue;
      ++result.tiles;
      for (auto k = static_cast<std::size_t>(x.indptr[row]); k < static_cast<std::size_t>(x.indptr[row + 1]); ++k) {
        const double value = x.values[k];
        const auto gene = static_cast<std::size_t>(x.indices[k]);
        sum[gene] += value;
        squares[gene] += value * value;
        result.most = std::max(result.most, value);
      }
    }
  }
  const double n = result.tiles == 0 ? 1 : static_cast<double>(result.tiles);
  for (std::size_t gene = 0; gene < genes; ++gene) {
    const double mean = sum[gene] / n;
    result.genes.push_back({mean, std::sqrt(std::max(0.0, squares[gene] / n - mean * mean))});
  }
  return result;
}

BoundChanges bind_changes(std::span<const GeneChange> changes, std::span<const std::string> table_genes,
                          std::span<const std::string> encoder_genes, const GeneSpreads* spreads) {
  constexpr double kConstant = 1e-6;  // rounding of float32 sums
  BoundChanges bound;
  for (const GeneChange& change : changes) {
    const auto found = std::ranges::find(table_genes, change.gene);
    if (found == table_genes.end()) throw_unknown_gene(change.gene, table_genes, encoder_genes);
    const auto column = static_cast<std::size_t>(found - table_genes.begin());
    bound.columns.push_back(column);
    if (std::ranges::find(encoder_genes, change.gene) == encoder_genes.end())
      bound.not_in_encoder.push_back(change.gene);
    if (spreads == nullptr) continue;
    const GeneSpread spread = spreads->genes[column];
    if (change.kind == GeneChange::Kind::kDeviations && spread.deviation < kConstant) {
      throw Error(ErrorCode::kUsage,
                  "gene {} has the same value, {:.4g}, in all {} tiles with expression: standard deviations of it mean "
                  "nothing; give the change as +1.5 (log1p of counts per 10,000) or +20cp10k",
                  change.gene, spread.mean, spreads->tiles);
    }
    bound.changes.emplace_back(change, spread, spreads->most);
  }
  if (bound.not_in_encoder.size() == changes.size()) {
    throw Error(ErrorCode::kUsage,
                "the gene encoder does not read {}: changing {} would change nothing; among its {} genes the nearest "
                "names are {}",
                fmt::join(bound.not_in_encoder, ", "), changes.size() == 1 ? "it" : "them", encoder_genes.size(),
                fmt::join(nearest_names(bound.not_in_encoder.front(), encoder_genes, kNamed), ", "));
  }
  return bound;
}

}  // namespace vtissue::stages
