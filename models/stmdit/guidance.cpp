#include "models/stmdit/guidance.h"

#include <algorithm>
#include <cmath>

namespace vtissue::models {
namespace {

/// Below this a weight is what rounding left of a zero: an evaluation that cannot show in float32.
constexpr double kNoWeight = 1e-9;

}  // namespace

std::vector<GuidanceBranch> guidance_branches(const Guidance& guidance, bool has_morphology, bool has_gene) {
  const bool morphology_first = guidance.form == Guidance::Form::kMorphologyFirst;
  const double first = morphology_first ? guidance.morphology : guidance.gene;
  const double second = morphology_first ? guidance.gene : guidance.morphology;
  const GuidanceBranch nested[] = {
      {.morphology = false, .gene = false, .weight = 1 - first},
      {.morphology = morphology_first, .gene = !morphology_first, .weight = first - second},
      {.morphology = true, .gene = true, .weight = second}};
  std::vector<GuidanceBranch> result;
  for (GuidanceBranch branch : nested) {
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
