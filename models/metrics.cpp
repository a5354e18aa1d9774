#include "models/metrics.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "models/feature_matrix.h"

namespace vtissue::models {
namespace {

/// Mean of the rows of [n, dim]: a sum along rows of the transposed, for the same reason as total().
at::Tensor mean_row(const at::Tensor& x) { return x.t().contiguous().sum(-1) / static_cast<double>(x.size(0)); }

at::Tensor centred(const at::Tensor& x, const at::Tensor& mean) {
  return (x - mean) / std::sqrt(static_cast<double>(x.size(0) - 1));
}

/// Sum of the kernel over all pairs of rows; `same` leaves out a row with itself. In blocks, since the whole matrix of
/// some ten thousand tiles takes a gigabyte.
double kernel_sum(const at::Tensor& x, const at::Tensor& y, bool same) {
  double sum = 0;
  for (std::int64_t first = 0; first < x.size(0); first += kFeatureBlockRows) {
    sum += total(cubic_kernel(x.slice(0, first, std::min(first + kFeatureBlockRows, x.size(0))), y));
  }
  return same ? sum - total((x.square().sum(1).unsqueeze(1) / x.size(1) + 1).pow(3)) : sum;
}

}  // namespace

void check_features(const FeatureSet& set) {
  if (set.n < 2)
    throw Error(ErrorCode::kBadInput, "a distance needs at least 2 feature vectors in a set, not {}", set.n);
  if (set.dim < 1 || set.values.size() != static_cast<std::size_t>(set.n) * static_cast<std::size_t>(set.dim)) {
    throw Error(ErrorCode::kBadInput, "{} values are not {} feature vectors of {}", set.values.size(), set.n, set.dim);
  }
  const auto bad = std::find_if_not(set.values.begin(), set.values.end(), [](float v) { return std::isfinite(v); });
  if (bad != set.values.end()) {
    throw Error(ErrorCode::kBadInput, "feature vector {} holds {}", (bad - set.values.begin()) / set.dim, *bad);
  }
}

void check_features(const FeatureSet& a, const FeatureSet& b) {
  check_features(a);
  check_features(b);
  if (a.dim != b.dim) {
    throw Error(ErrorCode::kBadInput, "feature vectors of {} and of {} values cannot be compared", a.dim, b.dim);
  }
}

at::Tensor feature_matrix(const FeatureSet& set) {
  return at::from_blob(const_cast<float*>(set.values.data()), {set.n, set.dim}, at::kFloat).to(at::kDouble);
}

double total(const at::Tensor& matrix) {
  const at::Tensor rows = matrix.sum(-1).contiguous();
  const double* const values = rows.const_data_ptr<double>();
  double sum = 0;
  for (std::int64_t i = 0; i < rows.numel(); ++i) sum += values[i];
  return sum;
}

at::Tensor covariance_factor(const at::Tensor& x) {
  return x.size(0) <= x.size(1) ? x : std::get<1>(at::linalg_qr(x, "r"));
}

double distance_of_gaussians(const at::Tensor& mean_a, const at::Tensor& factor_a, const at::Tensor& mean_b,
                             const at::Tensor& factor_b) {
  // The trace of the covariances' geometric mean is the sum of the singular values of Fa Fb^T; unlike square roots of
  // eigenvalues of a product this does not lose half the digits when the covariances are singular.
  const double cross = total(at::linalg_svdvals(at::mm(factor_a, factor_b.t())).unsqueeze(1));
  return total((mean_a - mean_b).square().unsqueeze(1)) + total(factor_a.square()) + total(factor_b.square()) -
         2 * cross;
}

at::Tensor cubic_kernel(const at::Tensor& x, const at::Tensor& y) { return (at::mm(x, y.t()) / x.size(1) + 1).pow(3); }

double frechet_distance(const FeatureSet& a, const FeatureSet& b, Device& device) {
  check_features(a, b);
  double distance = 0;
  device.run([&] {
    const OneThread one_thread;
    const at::Tensor xa = feature_matrix(a), xb = feature_matrix(b);
    const at::Tensor mean_a = mean_row(xa), mean_b = mean_row(xb);
    distance = distance_of_gaussians(mean_a, covariance_factor(centred(xa, mean_a)), mean_b,
                                     covariance_factor(centred(xb, mean_b)));
  });
  return distance;
}

double kernel_distance(const FeatureSet& a, const FeatureSet& b, Device& device) {
  check_features(a, b);
  double distance = 0;
  device.run([&] {
    const at::Tensor xa = feature_matrix(a);
    const at::Tensor xb = feature_matrix(b);
    const auto na = static_cast<double>(a.n);
    const auto nb = static_cast<double>(b.n);
    distance = kernel_sum(xa, xa, true) / (na * (na - 1)) + kernel_sum(xb, xb, true) / (nb * (nb - 1)) -
               2 * kernel_sum(xa, xb, false) / (na * nb);
  });
  return distance;
}

}  // namespace vtissue::models
