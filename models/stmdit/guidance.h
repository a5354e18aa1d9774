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

/// The nested guidance of models.md 1.2.6 as a weighted sum, with only the evaluations it needs, in a fixed order. The
/// weights add up to 1. A condition the tile does not have is null in every branch, so branches that become
/// the same are evaluated once.
std::vector<GuidanceBranch> guidance_branches(const Guidance& guidance, bool has_morphology, bool has_gene);

}  // namespace vtissue::models
