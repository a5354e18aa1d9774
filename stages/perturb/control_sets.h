#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stages/perturb/gene_change.h"

namespace vtissue::stages {

/// Where the housekeeping genes are taken from, in words for a report.
std::string_view housekeeping_source();
/// Whether a gene symbol is one of them, or of one of the families that are.
bool is_housekeeping(std::string_view gene);

/// A gene that may stand in for another in a control.
struct ControlGene {
  std::string name;
  GeneSpread spread;
};

/// Sets of changes that are like `target` but of other genes: each gene is replaced by one drawn from the genes whose
/// mean lies in the same tenth of all genes' and, as far as there are some, whose dispersion (variance by mean) in the
/// same third of those; the amount stays, for set values the step from the mean is kept. No gene twice in a set, none
/// of the target's. Depends on the arguments alone. Fewer than `count` sets if there are not so many different ones;
/// Error kUsage if there is none.
std::vector<std::vector<GeneChange>> matched_random_sets(std::span<const GeneChange> target,
                                                         std::span<const ControlGene> genes, std::size_t count,
                                                         std::uint64_t seed);

/// The same with housekeeping genes in place of each, nearest in mean first, each set with others. May be empty: too
/// few of them among `genes`.
std::vector<std::vector<GeneChange>> housekeeping_sets(std::span<const GeneChange> target,
                                                       std::span<const ControlGene> genes, std::size_t count,
                                                       std::uint64_t seed);

/// How an effect lies among those of controls.
struct NullComparison {
  std::size_t n = 0;  ///< controls
  double effect = 0;
  double null_mean = 0;
  double null_deviation = 0;  ///< denominator n - 1; 0 for fewer than 2
  double size = 0;            ///< (effect - null_mean) / null_deviation; 0 where that is 0
  double p = 1;               ///< (1 + controls with at least the effect) / (1 + n)
};
NullComparison compare_with_null(double effect, std::span<const double> null);

}  // namespace vtissue::stages
