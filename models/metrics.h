#pragma once

#include <span>

#include "models/device.h"

namespace vtissue::models {

/// n feature vectors by row.
struct FeatureSet {
  std::span<const float> values;  ///< [n, dim]
  int n = 0;
  int dim = 0;
};

/// Fréchet distance of the Gaussians through two sets of features, with the covariances' denominator n - 1
/// (models.md 8.1), in double. Defined for n < dim too. Biased in n: compare only equal n. Throws Error kBadInput for
/// fewer than 2 vectors, other lengths in the two sets or a value that is not finite. Thread-safe.
double frechet_distance(const FeatureSet& a, const FeatureSet& b, Device& device);

/// Kernel distance: the unbiased squared maximum mean discrepancy under the kernel (x·y / dim + 1)^3 over the two whole
/// sets (models.md 8.2), in double. May be slightly negative. Throws as frechet_distance(). Thread-safe.
double kernel_distance(const FeatureSet& a, const FeatureSet& b, Device& device);

}  // namespace vtissue::models
