#pragma once

#include <ATen/Parallel.h>

#include <cstdint>

#include "models/metrics.h"
#include "models/torch.h"

/// What metrics.cpp and set_metrics.cpp share: features as matrices, and sums that are the same for any number of
/// threads. To be called on a device's thread.
namespace vtissue::models {

constexpr std::int64_t kFeatureBlockRows = 1024;

/// Throws Error kBadInput for fewer than 2 vectors, a wrong number of values or one that is not finite.
void check_features(const FeatureSet& set);
/// The same of both, and that they are of one length.
void check_features(const FeatureSet& a, const FeatureSet& b);

/// [n, dim] double, a copy.
at::Tensor feature_matrix(const FeatureSet& set);

/// Sum of all values of a matrix: LibTorch gives each row to one thread, but would split a sum over everything by their
/// number.
double total(const at::Tensor& matrix);

/// A factor F of the covariance, F^T F, with at most dim rows; x [n, dim] is centred and divided by the square root of
/// the denominator.
at::Tensor covariance_factor(const at::Tensor& x);

/// Of two Gaussians by their means [dim] and covariance factors.
double distance_of_gaussians(const at::Tensor& mean_a, const at::Tensor& factor_a, const at::Tensor& mean_b,
                             const at::Tensor& factor_b);

/// (x·y / dim + 1)^3 of all pairs of rows.
at::Tensor cubic_kernel(const at::Tensor& x, const at::Tensor& y);

/// The factorisations of LAPACK split their sums by the number of threads, so they get one.
class OneThread {
 public:
  OneThread() : before_(at::get_num_threads()) { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

}  // namespace vtissue::models
