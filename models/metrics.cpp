#include "models/metrics.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "models/torch.h"

namespace vtissue::models {
namespace {

constexpr std::int64_t kBlockRows = 1024;

void check(const FeatureSet& a, const FeatureSet& b) {
  for (const FeatureSet& set : {a, b}) {
    if (set.n < 2)
      throw Error(ErrorCode::kBadInput, "a distance needs at least 2 feature vectors in a set, not {}", set.n);
    if (set.dim < 1 || set.values.size() != static_cast<std::size_t>(set.n) * static_cast<std::size_t>(set.dim)) {
      throw Error(ErrorCode::kBadInput, "{} values are not {} feature vectors of {}", set.values.size(), set.n,
                  set.dim);
    }
    const auto bad = std::find_if_not(set.values.begin(), set.values.end(), [](float v) { return std::isfinite(v); });
    if (bad != set.values.end()) {
      throw Error(ErrorCode::kBadInput, "feature vector {} holds {}", (bad - set.values.begin()) / set.dim, *bad);
    }
  }
  if (a.dim != b.dim) {
    throw Error(ErrorCode::kBadInput, "feature vectors of {} and of {} values cannot be compared", a.dim, b.dim);
  }
}

/// [n, dim] double, a copy.
at::Tensor matrix(const FeatureSet& set) {
  return at::from_blob(const_cast<float*>(set.values.data()), {set.n, set.dim}, at::kFloat).to(at::kDouble);
}

/// Sum of all values of a matrix, the same for any number of threads: LibTorch gives each row to one thread, but would
/// split a sum over everything by their number.
double total(const at::Tensor& matrix) {
  const at::Tensor rows = matrix.sum(-1).contiguous();
  const double* const values = rows.const_data_ptr<double>();
  double sum = 0;
  for (std::int64_t i = 0; i < rows.numel(); ++i) sum += values[i];
  return sum;
}

/// Mean of the rows of [n, dim]: a sum along rows of the transposed, for the same reason.
at::Tensor mean_row(const at::Tensor& x) { return x.t().contiguous().sum(-1) / static_cast<double>(x.size(0)); }

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

/// A factor F of the covariance, F^T F, with at most dim rows.
at::Tensor covariance_factor(const at::Tensor& x, const at::Tensor& mean) {
  const at::Tensor centered = (x - mean) / std::sqrt(static_cast<double>(x.size(0) - 1));
  if (x.size(0) <= x.size(1)) return centered;
  return std::get<1>(at::linalg_qr(centered, "r"));
}

/// Sum of the kernel over all pairs of rows; `same` leaves out a row with itself. In blocks, since the whole matrix of
/// some ten thousand tiles takes a gigabyte.
double kernel_sum(const at::Tensor& x, const at::Tensor& y, bool same) {
  double sum = 0;
  const auto kernel = [&](const at::Tensor& products) { return total((products / x.size(1) + 1).pow(3)); };
  for (std::int64_t first = 0; first < x.size(0); first += kBlockRows) {
    const at::Tensor rows = x.slice(0, first, std::min(first + kBlockRows, x.size(0)));
    sum += kernel(at::mm(rows, y.t()));
  }
  return same ? sum - kernel(x.square().sum(1).unsqueeze(1)) : sum;
}

}  // namespace

double frechet_distance(const FeatureSet& a, const FeatureSet& b, Device& device) {
  check(a, b);
  double distance = 0;
  device.run([&] {
    const OneThread one_thread;
    const at::Tensor xa = matrix(a);
    const at::Tensor xb = matrix(b);
    const at::Tensor mean_a = mean_row(xa);
    const at::Tensor mean_b = mean_row(xb);
    const at::Tensor fa = covariance_factor(xa, mean_a);
    const at::Tensor fb = covariance_factor(xb, mean_b);
    // The trace of the covariances' geometric mean is the sum of the singular values of Fa Fb^T; unlike square roots of
    // eigenvalues of a product this does not lose half the digits when the covariances are singular.
    const double cross = total(at::linalg_svdvals(at::mm(fa, fb.t())).unsqueeze(1));
    distance = total((mean_a - mean_b).square().unsqueeze(1)) + total(fa.square()) + total(fb.square()) - 2 * cross;
  });
  return distance;
}

double kernel_distance(const FeatureSet& a, const FeatureSet& b, Device& device) {
  check(a, b);
  double distance = 0;
  device.run([&] {
    const at::Tensor xa = matrix(a);
    const at::Tensor xb = matrix(b);
    const auto na = static_cast<double>(a.n);
    const auto nb = static_cast<double>(b.n);
    distance = kernel_sum(xa, xa, true) / (na * (na - 1)) + kernel_sum(xb, xb, true) / (nb * (nb - 1)) -
               2 * kernel_sum(xa, xb, false) / (na * nb);
  });
  return distance;
}

}  // namespace vtissue::models
