#include "models/set_metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "models/feature_matrix.h"
#include "models/noise.h"

namespace vtissue::models {
namespace {

void check_resamples(const FeatureSet& a, const FeatureSet& b, const Resamples& of_a, const Resamples& of_b) {
  check_features(a, b);
  if (of_a.n() != a.n || of_b.n() != b.n || of_a.count() != of_b.count()) {
    throw Error(ErrorCode::kBadInput, "{} resamples of {} and {} of {} places do not fit sets of {} and {}",
                of_a.count(), of_a.n(), of_b.count(), of_b.n(), a.n, b.n);
  }
}

at::Tensor matrix_of(const std::vector<double>& values, std::int64_t columns) {
  const std::int64_t rows = static_cast<std::int64_t>(values.size()) / columns;
  return at::from_blob(const_cast<double*>(values.data()), {rows, columns}, at::kDouble).clone();
}

at::Tensor times_of(const Resamples& resamples) {
  return at::from_blob(const_cast<double*>(resamples.times().data()), {resamples.count(), resamples.n()}, at::kDouble)
      .clone();
}

std::vector<double> doubles(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

/// Row sums, each by one thread.
at::Tensor row_sums(const at::Tensor& matrix) { return matrix.contiguous().sum(-1); }

/// Of every resample, the sum of the kernel over pairs, each as often as both of it were drawn.
at::Tensor weighted_kernel_sums(const at::Tensor& x, const at::Tensor& y, const at::Tensor& times_x,
                                const at::Tensor& times_y) {
  at::Tensor sums = at::zeros({times_x.size(0)}, at::kDouble);
  const at::Tensor columns = times_y.t().contiguous();
  for (std::int64_t first = 0; first < x.size(0); first += kFeatureBlockRows) {
    const std::int64_t end = std::min(first + kFeatureBlockRows, x.size(0));
    const at::Tensor of_rows = at::mm(cubic_kernel(x.slice(0, first, end), y), columns);  // [rows, count]
    sums += row_sums(of_rows.t() * times_x.slice(1, first, end));
  }
  return sums;
}

at::Tensor own_kernel(const at::Tensor& x, const at::Tensor& y) {
  return (row_sums(x * y) / x.size(1) + 1).pow(3).unsqueeze(0);
}

/// Mean of the kernel over the pairs of different places of each resample.
at::Tensor mean_within(const at::Tensor& x, const at::Tensor& times) {
  const at::Tensor squares = times.square();
  const at::Tensor pairs = row_sums(times).square() - row_sums(squares);
  const at::Tensor sums = weighted_kernel_sums(x, x, times, times) - row_sums(squares * own_kernel(x, x));
  return sums / at::where(pairs > 0, pairs, std::numeric_limits<double>::quiet_NaN());
}

/// Mean over all pairs of one of each set. Of sets drawn together a place's own pair counts as often as the place, as
/// it does in the whole sets, and not as the square.
at::Tensor mean_between(const at::Tensor& x, const at::Tensor& y, const at::Tensor& times_x, const at::Tensor& times_y,
                        bool together) {
  at::Tensor sums = weighted_kernel_sums(x, y, times_x, times_y);
  at::Tensor pairs = row_sums(times_x) * row_sums(times_y);
  if (together) {
    const at::Tensor surplus = times_x.square() - times_x;
    sums -= row_sums(surplus * own_kernel(x, y));
    pairs -= row_sums(surplus);
  }
  return sums / pairs;
}

struct Gaussian {
  at::Tensor mean, factor;
};

Gaussian gaussian_of(const at::Tensor& x, const at::Tensor& times) {
  const at::Tensor transposed = x.t().contiguous();
  const double drawn = total(times.unsqueeze(1));
  const at::Tensor mean = row_sums(transposed * times) / drawn;
  return {mean, covariance_factor((x - mean) * (times / (drawn - 1)).sqrt().unsqueeze(1))};
}

/// [rows of x, rows of y].
at::Tensor squared_distances(const at::Tensor& x, const at::Tensor& y) {
  return (row_sums(x.square()).unsqueeze(1) + row_sums(y.square()).unsqueeze(0) - 2 * at::mm(x, y.t())).clamp_min(0);
}

/// Of each row, the squared distance to the k-th nearest of the others.
at::Tensor squared_radii(const at::Tensor& x, int k) {
  std::vector<at::Tensor> parts;
  for (std::int64_t first = 0; first < x.size(0); first += kFeatureBlockRows) {
    const at::Tensor rows = x.slice(0, first, std::min(first + kFeatureBlockRows, x.size(0)));
    at::Tensor distances = squared_distances(rows, x);
    for (std::int64_t i = 0; i < rows.size(0); ++i) distances[i][first + i] = -1;  // itself comes first
    parts.push_back(std::get<0>(distances.kthvalue(k + 1, 1)));
  }
  return at::cat(parts);
}

}  // namespace

Resamples Resamples::draw(int n, int count, std::uint64_t seed) {
  if (n < 1 || count < 1) throw Error(ErrorCode::kBadInput, "{} resamples of {} places; at least 1 of each", count, n);
  const std::array<std::uint32_t, 2> key{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  Resamples resamples;
  resamples.n_ = n;
  resamples.times_.assign(static_cast<std::size_t>(n) * static_cast<std::size_t>(count), 0);
  for (int resample = 0; resample < count; ++resample) {
    double* const times = resamples.times_.data() + static_cast<std::ptrdiff_t>(resample) * n;
    for (int drawn = 0; drawn < n; drawn += 4) {
      const auto words =
          philox4x32_10({static_cast<std::uint32_t>(drawn / 4), static_cast<std::uint32_t>(resample), 0, 0}, key);
      for (int i = 0; i < 4 && drawn + i < n; ++i) {
        times[(std::uint64_t{words[static_cast<std::size_t>(i)]} * static_cast<std::uint64_t>(n)) >> 32] += 1;
      }
    }
  }
  return resamples;
}

Resamples Resamples::whole(int n) {
  Resamples resamples;
  resamples.n_ = n;
  resamples.times_.assign(static_cast<std::size_t>(n), 1);
  return resamples;
}

std::vector<double> kernel_distances(const FeatureSet& a, const FeatureSet& b, const Resamples& of_a,
                                     const Resamples& of_b, Device& device) {
  check_resamples(a, b, of_a, of_b);
  std::vector<double> distances;
  device.run([&] {
    const at::Tensor xa = feature_matrix(a), xb = feature_matrix(b);
    const at::Tensor times_a = times_of(of_a), times_b = times_of(of_b);
    distances = doubles(mean_within(xa, times_a) + mean_within(xb, times_b) -
                        2 * mean_between(xa, xb, times_a, times_b, of_a == of_b));
  });
  return distances;
}

std::vector<double> frechet_distances(const FeatureSet& a, const FeatureSet& b, const Resamples& of_a,
                                      const Resamples& of_b, Device& device) {
  check_resamples(a, b, of_a, of_b);
  std::vector<double> distances;
  device.run([&] {
    const OneThread one_thread;
    const at::Tensor xa = feature_matrix(a), xb = feature_matrix(b);
    const at::Tensor times_a = times_of(of_a), times_b = times_of(of_b);
    for (std::int64_t i = 0; i < times_a.size(0); ++i) {
      const Gaussian of_first = gaussian_of(xa, times_a[i]), of_second = gaussian_of(xb, times_b[i]);
      distances.push_back(distance_of_gaussians(of_first.mean, of_first.factor, of_second.mean, of_second.factor));
    }
  });
  return distances;
}

Interval central_interval(std::vector<double> values, double share) {
  if (values.empty()) throw Error(ErrorCode::kBadInput, "an interval of no values");
  std::ranges::sort(values);
  const auto at_share = [&](double part) {
    const double position = part * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (position - static_cast<double>(below)) * (values[above] - values[below]);
  };
  return {at_share((1 - share) / 2), at_share((1 + share) / 2)};
}

LeadingComponents LeadingComponents::fit(const FeatureSet& set, int count, Device& device) {
  check_features(set);
  if (count < 1 || count > set.dim) {
    throw Error(ErrorCode::kBadInput, "{} components of features of {}", count, set.dim);
  }
  LeadingComponents components;
  components.dim_ = set.dim;
  components.count_ = count;
  device.run([&] {
    const OneThread one_thread;
    const at::Tensor x = feature_matrix(set);
    const at::Tensor mean = row_sums(x.t()) / static_cast<double>(set.n);
    const at::Tensor centred = x - mean;
    const auto [values, vectors] = at::linalg_eigh(at::mm(centred.t(), centred), "L");  // ascending
    const at::Tensor kept = values.slice(0, set.dim - count);
    const double all = total(values.clamp_min(0).unsqueeze(1));
    if (all > 0) components.share_ = total(kept.clamp_min(0).unsqueeze(1)) / all;
    components.mean_ = doubles(mean);
    components.axes_ = doubles(vectors.slice(1, set.dim - count).flip(1));
  });
  return components;
}

std::vector<float> LeadingComponents::project(const FeatureSet& set, Device& device) const {
  check_features(set);
  if (set.dim != dim_) {
    throw Error(ErrorCode::kBadInput, "components of features of {} do not fit features of {}", dim_, set.dim);
  }
  std::vector<float> projected;
  device.run([&] {
    const at::Tensor result =
        at::mm(feature_matrix(set) - matrix_of(mean_, dim_), matrix_of(axes_, count_)).to(at::kFloat).contiguous();
    projected.assign(result.const_data_ptr<float>(), result.const_data_ptr<float>() + result.numel());
  });
  return projected;
}

SetOverlap set_overlap(const FeatureSet& real, const FeatureSet& made, int k, Device& device) {
  check_features(real, made);
  if (k < 1 || k >= std::min(real.n, made.n)) {
    throw Error(ErrorCode::kBadInput, "{} neighbours in sets of {} and {}", k, real.n, made.n);
  }
  SetOverlap overlap;
  device.run([&] {
    const at::Tensor x = feature_matrix(real), y = feature_matrix(made);
    const at::Tensor radii_x = squared_radii(x, k), radii_y = squared_radii(y, k);
    double in_real = 0, in_made = 0, balls = 0, covered = 0;
    at::Tensor around = at::zeros({made.n}, at::kLong);  // real balls around each made vector
    const auto count = [](const at::Tensor& flags) { return static_cast<double>(flags.sum().item<std::int64_t>()); };
    for (std::int64_t first = 0; first < real.n; first += kFeatureBlockRows) {
      const std::int64_t end = std::min<std::int64_t>(first + kFeatureBlockRows, real.n);
      const at::Tensor distances = squared_distances(x.slice(0, first, end), y);
      const at::Tensor inside = distances < radii_x.slice(0, first, end).unsqueeze(1);
      around += inside.sum(0);
      balls += count(inside);
      covered += count(inside.any(1));
      in_made += count((distances < radii_y.unsqueeze(0)).any(1));
    }
    in_real = count(around > 0);
    overlap = {in_real / made.n, in_made / real.n, balls / (static_cast<double>(k) * made.n), covered / real.n};
  });
  return overlap;
}

}  // namespace vtissue::models
