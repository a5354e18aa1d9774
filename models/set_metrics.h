#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/device.h"
#include "models/metrics.h"

/// What metrics.h says of two sets of features, with its uncertainty, and how far the sets overlap.
namespace vtissue::models {

/// Bootstrap resamples of n places: how often each was drawn, [count, n]. Two sets of the same places (a real and a
/// virtual tile of each) are resampled together by giving both the same.
class Resamples {
 public:
  /// n draws with replacement each; a function of its arguments alone. Throws Error kBadInput if one is below 1.
  static Resamples draw(int n, int count, std::uint64_t seed);
  /// One "resample" with each place once: gives the figures of the sets themselves.
  static Resamples whole(int n);

  int n() const { return n_; }
  int count() const { return n_ == 0 ? 0 : static_cast<int>(times_.size() / static_cast<std::size_t>(n_)); }
  std::span<const double> times() const { return times_; }
  /// Drawn together: row i of one set and of the other are the same place.
  bool operator==(const Resamples&) const = default;

 private:
  int n_ = 0;
  std::vector<double> times_;
};

/// kernel_distance() of each resample of a with the resample of b of the same number. What drawing a place twice adds
/// to the pairs of the place with itself is left out: it would pull every resample's figure to one side. Throws as
/// kernel_distance(), and if the resamples are not of the sets' sizes and of one count; NaN where a resample is one
/// place alone. Thread-safe; the same for any number of threads.
std::vector<double> kernel_distances(const FeatureSet& a, const FeatureSet& b, const Resamples& of_a,
                                     const Resamples& of_b, Device& device);

/// The same of frechet_distance(); a place drawn twice counts as two vectors. Meant for few dimensions: a factorisation
/// each.
std::vector<double> frechet_distances(const FeatureSet& a, const FeatureSet& b, const Resamples& of_a,
                                      const Resamples& of_b, Device& device);

struct Interval {
  double low = 0;
  double high = 0;
};

/// The central `share` (0..1) of values by linear interpolation between order statistics. Throws Error kBadInput for no
/// values.
Interval central_interval(std::vector<double> values, double share = 0.95);

/// The directions in which a set of features varies most.
class LeadingComponents {
 public:
  /// Throws Error kBadInput as frechet_distance() does, and unless 1 <= count <= dim. Thread-safe.
  static LeadingComponents fit(const FeatureSet& set, int count, Device& device);
  int count() const { return count_; }
  /// Share of the set's variance that they hold, 0..1; 1 for a set without variance.
  double share_of_variance() const { return share_; }
  /// [n, count] of centred features. Throws Error kBadInput for another length.
  std::vector<float> project(const FeatureSet& set, Device& device) const;

 private:
  int dim_ = 0;
  int count_ = 0;
  double share_ = 1;
  std::vector<double> mean_, axes_;  ///< [dim], [dim, count]
};

/// How two sets cover each other by balls around each vector that reach to its k-th nearest neighbour in its own set:
/// precision and recall (Kynkäänniemi et al., "Improved precision and recall metric", 2019), density and coverage
/// (Naeem et al., "Reliable fidelity and diversity metrics", 2020).
struct SetOverlap {
  double precision = 0;  ///< share of the made vectors inside a real ball
  double recall = 0;     ///< share of the real vectors inside a made ball
  double density = 0;    ///< real balls around a made vector over k; not bounded by 1
  double coverage = 0;   ///< share of the real balls that hold a made vector
};

/// A vector at the very rim of a ball is outside. Throws Error kBadInput as frechet_distance() does, and unless 1 <= k
/// < n of both. Thread-safe; the same for any number of threads.
SetOverlap set_overlap(const FeatureSet& real, const FeatureSet& made, int k, Device& device);

}  // namespace vtissue::models
