#pragma once

#include <cstdint>
#include <span>
#include <vector>

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

/// Pearson's correlation of each column of two tables [rows, columns], in double: in float32 a mean that is large
/// against the deviation leaves nothing. 0 where a column of either table is constant (models.md 8.4). Throws Error
/// kBadInput for arrays that do not fit.
std::vector<double> pearson_by_column(std::span<const double> a, std::span<const double> b, int columns);

/// Peak signal-to-noise ratio in dB of values in 0..1; infinite for equal images. Throws as above.
double psnr(std::span<const float> image, std::span<const float> reference);

/// Where SSIM's windows may lie; published figures are of either kind and differ in the third digit (models.md 8.4).
enum class SsimWindows {
  kReflected,  ///< around every pixel, the image mirrored at its borders: torchmetrics
  kInside      ///< only where they lie inside the image: the original definition
};

/// Structural similarity of two images [channels, height, width] of values in 0..1: Gaussian windows of 11 x 11 with
/// sigma 1.5, K1 0.01, K2 0.03; the mean over windows and channels. `map`, if wanted, is [channels, height, width] and
/// only for reflected windows. Throws Error kBadInput for arrays that do not fit and sides below 11.
double ssim(std::span<const float> image, std::span<const float> reference, int channels, int height, int width,
            SsimWindows windows, std::span<float> map = {});

/// Area under the median correlation of the n most variable genes over n (models.md 8.3).
struct PearsonArea {
  std::vector<double> medians;  ///< by list length
  double raw = 0;               ///< trapezoids over n
  double normalized = 0;        ///< divided by the range of n
};

/// pearson, rank [genes]: correlation and variability rank from 1 of each gene; top_n ascending, at least two. Throws
/// Error kBadInput if a list would be empty.
PearsonArea pearson_area(std::span<const double> pearson, std::span<const double> rank, std::span<const int> top_n);

struct Bootstrap {
  double mean = 0;
  double std = 0;  ///< with denominator n
};

/// The raw area over resampled lists, as the reference has it: each resample of a list is as long as all lists
/// together, so that the deviation is smaller than the genes' own. Depends on the seed alone.
Bootstrap pearson_area_bootstrap(std::span<const double> pearson, std::span<const double> rank,
                                 std::span<const int> top_n, int resamples, std::uint64_t seed);

}  // namespace vtissue::models
