#include "models/stmdit/guidance.h"

#include <algorithm>
#include <cmath>

namespace vtissue::models {
namespace {

/// Below this a weight is what rounding left of a zero: an evaluation that cannot show in float32.
constexpr double kNoWeight = 1e-9;

/// The weight at a noise level.
double weight_at(float weight, const Guidance::Interval& interval, double noise_level) {
  const bool guided = noise_level >= interval.low && noise_level <= interval.high;
  return guided || weight == 0 ? weight : 1.0;
}

}  // namespace

std::vector<GuidanceBranch> guidance_branches(const Guidance& guidance, double noise_level, bool has_morphology,
                                              bool has_gene) {
  using Form = Guidance::Form;
  const double m = weight_at(guidance.morphology, guidance.morphology_interval, noise_level);
  const double g = weight_at(guidance.gene, guidance.gene_interval, noise_level);
  std::vector<GuidanceBranch> wanted;
  switch (guidance.form) {
    case Form::kMorphologyFirst:
      wanted = {{false, false, 1 - m}, {true, false, m - g}, {true, true, g}};
      break;
    case Form::kGeneFirst:
      wanted = {{false, false, 1 - g}, {false, true, g - m}, {true, true, m}};
      break;
    case Form::kOrdinary:
      wanted = {{false, false, 1 - m}, {true, true, m}};
      break;
    case Form::kExpressionOnly:
      wanted = {{false, false, 1 - g}, {false, true, g}};
      break;
  }
  std::vector<GuidanceBranch> result;
  for (GuidanceBranch branch : wanted) {
    branch.morphology = branch.morphology && has_morphology;
    branch.gene = branch.gene && has_gene;
    const auto same = std::find_if(result.begin(), result.end(), [&](const GuidanceBranch& other) {
      return other.morphology == branch.morphology && other.gene == branch.gene;
    });
    if (same == result.end()) {
      result.push_back(branch);
    } else {
      same->weight += branch.weight;
    }
  }
  std::erase_if(result, [](const GuidanceBranch& branch) { return std::abs(branch.weight) < kNoWeight; });
  return result;
}

}  // namespace vtissue::models
