#include "models/set_metrics.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

class SetMetrics : public testing::Test {
 protected:
  static std::vector<float> normals(int n, int dim, std::uint64_t seed, double shift = 0) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
    return to_vector(at::randn({n, dim}, generator, at::kFloat) + shift);
  }
  static FeatureSet set(const std::vector<float>& values, int dim) {
    return {values, static_cast<int>(values.size()) / dim, dim};
  }
  std::shared_ptr<Device> device_ = Device::open("cpu", 2);
};

/// The rows of a resample, those drawn twice twice.
std::vector<float> drawn_rows(const std::vector<float>& values, int dim, const Resamples& resamples, int number) {
  std::vector<float> rows;
  for (int i = 0; i < resamples.n(); ++i) {
    const auto times = static_cast<int>(resamples.times()[static_cast<std::size_t>(number * resamples.n() + i)]);
    for (int k = 0; k < times; ++k) rows.insert(rows.end(), values.begin() + i * dim, values.begin() + (i + 1) * dim);
  }
  return rows;
}

TEST_F(SetMetrics, AResampleDrawsAsManyPlacesAsThereAre) {
  const Resamples resamples = Resamples::draw(37, 500, 3);
  ASSERT_EQ(resamples.count(), 500);
  double never = 0;
  for (int r = 0; r < 500; ++r) {
    const auto times = resamples.times().subspan(static_cast<std::size_t>(r) * 37, 37);
    EXPECT_EQ(std::accumulate(times.begin(), times.end(), 0.0), 37);
    never += static_cast<double>(std::ranges::count(times, 0.0)) / (500 * 37);
  }
  EXPECT_NEAR(never, std::pow(36.0 / 37, 37), 0.01);
  EXPECT_EQ(resamples, Resamples::draw(37, 500, 3));
  EXPECT_FALSE(resamples == Resamples::draw(37, 500, 4));
  EXPECT_EQ(error_of([] { (void)Resamples::draw(0, 5, 1); }).first, ErrorCode::kBadInput);
}

TEST_F(SetMetrics, EachPlaceOnceGivesTheDistancesOfTheSets) {
  const std::vector<float> a = normals(1100, 6, 1), b = normals(900, 6, 2, 0.2);
  const FeatureSet x = set(a, 6), y = set(b, 6);
  const Resamples of_x = Resamples::whole(1100), of_y = Resamples::whole(900);
  EXPECT_NEAR(kernel_distances(x, y, of_x, of_y, *device_)[0], kernel_distance(x, y, *device_), 1e-10);
  EXPECT_NEAR(frechet_distances(x, y, of_x, of_y, *device_)[0], frechet_distance(x, y, *device_), 1e-10);
}

TEST_F(SetMetrics, AResamplesFrechetDistanceIsThatOfItsRows) {
  const std::vector<float> a = normals(40, 5, 1), b = normals(30, 5, 2, 0.5);
  const Resamples of_a = Resamples::draw(40, 3, 7), of_b = Resamples::draw(30, 3, 8);
  const std::vector<double> distances = frechet_distances(set(a, 5), set(b, 5), of_a, of_b, *device_);
  for (int r = 0; r < 3; ++r) {
    const std::vector<float> rows_a = drawn_rows(a, 5, of_a, r), rows_b = drawn_rows(b, 5, of_b, r);
    EXPECT_NEAR(distances[static_cast<std::size_t>(r)], frechet_distance(set(rows_a, 5), set(rows_b, 5), *device_),
                1e-9);
  }
}

TEST_F(SetMetrics, AResamplesKernelDistanceLeavesOutAPlaceWithItself) {
  const int n = 25, dim = 4;
  const std::vector<float> a = normals(n, dim, 1), b = normals(n, dim, 2, 0.3);
  const auto kernel = [&](const std::vector<float>& p, int i, const std::vector<float>& q, int j) {
    double product = 0;
    for (int d = 0; d < dim; ++d)
      product += double{p[static_cast<std::size_t>(i * dim + d)]} * q[static_cast<std::size_t>(j * dim + d)];
    return std::pow(product / dim + 1, 3);
  };
  const Resamples places = Resamples::draw(n, 2, 5);
  const std::vector<double> distances = kernel_distances(set(a, dim), set(b, dim), places, places, *device_);
  for (int r = 0; r < 2; ++r) {
    double aa = 0, bb = 0, ab = 0, different = 0, between = 0;
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) {
        const double wi = places.times()[static_cast<std::size_t>(r * n + i)],
                     wj = places.times()[static_cast<std::size_t>(r * n + j)];
        const double pair = i == j ? wi : wi * wj;
        ab += pair * kernel(a, i, b, j);
        between += pair;
        if (i == j) continue;
        aa += wi * wj * kernel(a, i, a, j);
        bb += wi * wj * kernel(b, i, b, j);
        different += wi * wj;
      }
    }
    EXPECT_NEAR(distances[static_cast<std::size_t>(r)], aa / different + bb / different - 2 * ab / between, 1e-9);
  }
}

TEST_F(SetMetrics, IntervalsHoldTheDistanceAsOftenAsTheyClaim) {
  // Sets of one distribution: the kernel distance is 0 on average, without bias.
  int held = 0;
  const int trials = 60;
  for (int trial = 0; trial < trials; ++trial) {
    const std::vector<float> a = normals(80, 3, 100 + 2 * static_cast<std::uint64_t>(trial));
    const std::vector<float> b = normals(80, 3, 101 + 2 * static_cast<std::uint64_t>(trial), 0.4);
    const Resamples of_a = Resamples::draw(80, 200, 1), of_b = Resamples::draw(80, 200, 2);
    const Interval found = central_interval(kernel_distances(set(a, 3), set(b, 3), of_a, of_b, *device_));
    static const double truth = [&] {
      const std::vector<float> p = normals(6000, 3, 1), q = normals(6000, 3, 2, 0.4);
      return kernel_distance(set(p, 3), set(q, 3), *device_);
    }();
    held += found.low <= truth && truth <= found.high ? 1 : 0;
  }
  EXPECT_GE(held, trials * 8 / 10);
}

TEST_F(SetMetrics, AnIntervalInterpolates) {
  std::vector<double> values(101);
  std::iota(values.rbegin(), values.rend(), 0.0);
  const Interval interval = central_interval(values, 0.9);
  EXPECT_DOUBLE_EQ(interval.low, 5);
  EXPECT_DOUBLE_EQ(interval.high, 95);
  EXPECT_DOUBLE_EQ(central_interval({1, 2}, 0.5).low, 1.25);
  EXPECT_EQ(error_of([] { (void)central_interval({}); }).first, ErrorCode::kBadInput);
}

TEST_F(SetMetrics, LeadingComponentsAreWhereASetVaries) {
  // Three large directions, turned; the rest is small.
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(4);
  const at::Tensor turned = std::get<0>(at::linalg_qr(at::randn({8, 8}, generator, at::kDouble)));
  const at::Tensor scale = at::tensor({9.0, 5.0, 3.0, 0.1, 0.1, 0.1, 0.1, 0.1}, at::kDouble);
  const at::Tensor x = at::mm(at::randn({500, 8}, generator, at::kDouble) * scale, turned.t()) + 4;
  const std::vector<float> values = to_vector(x);
  const LeadingComponents components = LeadingComponents::fit(set(values, 8), 3, *device_);
  EXPECT_GT(components.share_of_variance(), 0.999);
  EXPECT_LT(components.share_of_variance(), 1);
  const std::vector<float> projected = components.project(set(values, 8), *device_);
  double previous = 1e9;
  for (int c = 0; c < 3; ++c) {
    double mean = 0, squares = 0;
    for (std::size_t i = static_cast<std::size_t>(c); i < projected.size(); i += 3) {
      mean += projected[i] / 500.0;
      squares += double{projected[i]} * projected[i] / 500.0;
    }
    EXPECT_NEAR(mean, 0, 1e-4);
    EXPECT_NEAR(std::sqrt(squares), scale[c].item<double>(), 0.1 * scale[c].item<double>());
    EXPECT_LT(squares, previous);
    previous = squares;
  }
  // All of them keep every distance.
  const std::vector<float> other = normals(300, 8, 9);
  const LeadingComponents whole = LeadingComponents::fit(set(values, 8), 8, *device_);
  const std::vector<float> p = whole.project(set(values, 8), *device_), q = whole.project(set(other, 8), *device_);
  const double expected = frechet_distance(set(values, 8), set(other, 8), *device_);
  EXPECT_NEAR(frechet_distance(set(p, 8), set(q, 8), *device_), expected, 1e-5 * expected);
  EXPECT_EQ(error_of([&] { (void)LeadingComponents::fit(set(values, 8), 9, *device_); }).first, ErrorCode::kBadInput);
  EXPECT_EQ(error_of([&] { (void)components.project(set(values, 4), *device_); }).first, ErrorCode::kBadInput);
}

/// By the definitions, one pair after another.
SetOverlap overlap_by_definition(const FeatureSet& real, const FeatureSet& made, int k) {
  const auto distance = [&](const FeatureSet& p, int i, const FeatureSet& q, int j) {
    double sum = 0;
    for (int d = 0; d < p.dim; ++d) {
      const double step =
          double{p.values[static_cast<std::size_t>(i * p.dim + d)]} - q.values[static_cast<std::size_t>(j * p.dim + d)];
      sum += step * step;
    }
    return std::sqrt(sum);
  };
  const auto radius = [&](const FeatureSet& p, int i) {
    std::vector<double> distances;
    for (int j = 0; j < p.n; ++j) {
      if (j != i) distances.push_back(distance(p, i, p, j));
    }
    std::ranges::sort(distances);
    return distances[static_cast<std::size_t>(k - 1)];
  };
  SetOverlap overlap;
  for (int j = 0; j < made.n; ++j) {
    int balls = 0;
    for (int i = 0; i < real.n; ++i) balls += distance(real, i, made, j) < radius(real, i) ? 1 : 0;
    overlap.precision += (balls > 0 ? 1.0 : 0.0) / made.n;
    overlap.density += static_cast<double>(balls) / (k * made.n);
  }
  for (int i = 0; i < real.n; ++i) {
    bool recalled = false, covered = false;
    for (int j = 0; j < made.n; ++j) {
      recalled = recalled || distance(real, i, made, j) < radius(made, j);
      covered = covered || distance(real, i, made, j) < radius(real, i);
    }
    overlap.recall += (recalled ? 1.0 : 0.0) / real.n;
    overlap.coverage += (covered ? 1.0 : 0.0) / real.n;
  }
  return overlap;
}

TEST_F(SetMetrics, OverlapIsThatOfTheDefinitions) {
  for (const double shift : {0.0, 0.7, 2.0}) {
    SCOPED_TRACE(shift);
    const std::vector<float> a = normals(60, 4, 1), b = normals(45, 4, 2, shift);
    const SetOverlap expected = overlap_by_definition(set(a, 4), set(b, 4), 3);
    const SetOverlap found = set_overlap(set(a, 4), set(b, 4), 3, *device_);
    EXPECT_NEAR(found.precision, expected.precision, 1e-12);
    EXPECT_NEAR(found.recall, expected.recall, 1e-12);
    EXPECT_NEAR(found.density, expected.density, 1e-12);
    EXPECT_NEAR(found.coverage, expected.coverage, 1e-12);
  }
}

TEST_F(SetMetrics, OverlapOfOneSetIsWholeAndOfFarOnesNone) {
  const std::vector<float> a = normals(1500, 5, 1), far = normals(1200, 5, 2, 50);
  const SetOverlap same = set_overlap(set(a, 5), set(a, 5), 5, *device_);
  EXPECT_EQ(same.precision, 1);
  EXPECT_EQ(same.recall, 1);
  EXPECT_EQ(same.coverage, 1);
  const SetOverlap none = set_overlap(set(a, 5), set(far, 5), 5, *device_);
  EXPECT_EQ(none.precision + none.recall + none.density + none.coverage, 0);
  EXPECT_EQ(error_of([&] { (void)set_overlap(set(a, 5), set(far, 5), 1200, *device_); }).first, ErrorCode::kBadInput);
}

TEST_F(SetMetrics, OneMadeTileAgainAndAgainIsPreciseButCoversNothing) {
  const std::vector<float> a = normals(400, 5, 1);
  std::vector<float> repeated;
  for (int i = 0; i < 400; ++i) {
    for (int d = 0; d < 5; ++d) repeated.push_back(1e-3F * static_cast<float>(i % 7) * static_cast<float>(d));
  }
  const SetOverlap overlap = set_overlap(set(a, 5), set(repeated, 5), 5, *device_);
  EXPECT_EQ(overlap.precision, 1);
  EXPECT_LT(overlap.recall, 0.05);
  EXPECT_LT(overlap.coverage, 0.2);
}

TEST_F(SetMetrics, AreTheSameForAnyNumberOfThreads) {
  const std::vector<float> a = normals(1300, 64, 1), b = normals(1300, 64, 2, 0.1);
  const Resamples places = Resamples::draw(1300, 20, 1);
  const auto figures = [&](Device& device) {
    std::vector<double> all = kernel_distances(set(a, 64), set(b, 64), places, places, device);
    const LeadingComponents components = LeadingComponents::fit(set(a, 64), 8, device);
    const std::vector<float> p = components.project(set(a, 64), device), q = components.project(set(b, 64), device);
    all.insert(all.end(), p.begin(), p.end());
    for (const double distance : frechet_distances(set(p, 8), set(q, 8), places, places, device))
      all.push_back(distance);
    const SetOverlap overlap = set_overlap(set(a, 64), set(b, 64), 5, device);
    all.insert(all.end(), {overlap.precision, overlap.recall, overlap.density, overlap.coverage});
    return all;
  };
  const std::vector<double> once = figures(*Device::open("cpu", 1));
  for (const int threads : {2, 3, 4}) EXPECT_EQ(figures(*Device::open("cpu", threads)), once) << threads;
}

}  // namespace
}  // namespace vtissue::models
