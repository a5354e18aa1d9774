#pragma once

#include <cstdint>
#include <span>
#include <vector>

/// Highly variable genes as scanpy selects them (models.md 5.7 and 6.4). No LibTorch here.
namespace vtissue::models {

enum class HvgFlavor {
  kCellRanger,  ///< dispersion, standardised within bins of equal mean; on whatever scale the values are
  kSeuratV3,    ///< variance over the one expected of the mean, on counts; batches: median rank, then number of batches
  kSeuratV3Paper  ///< the same, but batches: number of batches, then median rank
};

struct HvgOptions {
  HvgFlavor flavor = HvgFlavor::kCellRanger;
  int top_genes = 2000;
  double span = 0.3;  ///< of the local regression (Seurat flavors): share of the genes a neighbourhood holds
};

/// By gene; what a flavor does not have is empty. NaN where there is none for a gene.
struct HighlyVariableGenes {
  std::vector<std::uint8_t> selected;
  std::vector<double> means;
  std::vector<double> dispersions;             ///< cell_ranger: variance / mean; with batches the batches' mean
  std::vector<double> dispersions_normalized;  ///< cell_ranger
  std::vector<double> variances;               ///< Seurat flavors, denominator n - 1
  std::vector<double> variances_normalized;    ///< Seurat flavors: of clipped standard scores
  std::vector<double> ranks;                   ///< Seurat flavors, from 0; NaN if in no batch's selection
  std::vector<int> batches;                    ///< with batches: in how many a gene is selected

  std::vector<int> indices() const;  ///< of the selected genes
};

/// values [cells, genes], not negative; batch [cells], any labels, or empty for one. Throws Error kBadInput for arrays
/// that do not fit, values that are negative or not finite, and too few cells or genes. Thread-safe.
HighlyVariableGenes highly_variable_genes(std::span<const float> values, int cells, int genes,
                                          std::span<const std::int64_t> batch, const HvgOptions& options);

}  // namespace vtissue::models
