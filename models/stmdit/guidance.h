#pragma once

#include <vector>

#include "models/engines.h"

namespace vtissue::models {

/// One evaluation of the network for a tile, and its share in the guided prediction.
struct GuidanceBranch {
  bool morphology = false;
  bool gene = false;
  double weight = 0;
};

/// The guidance at a noise level (0..1, see Guidance::Interval) as a weighted sum, with only the evaluations it needs,
/// in a fixed order: the branch with the most conditions last. The weights add up to 1. A condition the tile does not
/// have is null in every branch, so branches that become the same are evaluated once.
std::vector<GuidanceBranch> guidance_branches(const Guidance& guidance, double noise_level, bool has_morphology,
                                              bool has_gene);

}  // namespace vtissue::models
