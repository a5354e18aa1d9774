#include "stages/evaluate/nuclei.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "core/units.h"
#include "stages/tile/morphology.h"

namespace vtissue::stages {
namespace {

constexpr double kSmoothingUm = 0.75;
constexpr double kSpeckUm2 = 8;
constexpr double kHoleUm2 = 30;
constexpr double kWaistUm = 0.6;
constexpr double kSurroundingsUm = 10;
constexpr double kLargestUm2 = 250;

std::vector<double> gaussian(double sigma) {
  const int radius = static_cast<int>(std::ceil(3 * sigma));
  std::vector<double> weights;
  for (int i = -radius; i <= radius; ++i) weights.push_back(std::exp(-0.5 * i * i / (sigma * sigma)));
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  return weights;
}

/// Along x, then the picture turned: twice is both axes and the picture as it was. Mirrored at the borders.
std::vector<float> smooth_and_turn(std::span<const float> values, int side, const std::vector<double>& weights) {
  const int radius = static_cast<int>(weights.size() / 2);
  const auto inside = [&](int i) {
    while (i < 0 || i >= side) i = i < 0 ? -i - 1 : 2 * side - 1 - i;
    return i;
  };
  std::vector<float> result(values.size());
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      double sum = 0;
      for (int k = -radius; k <= radius; ++k) {
        sum +=
            weights[static_cast<std::size_t>(k + radius)] * values[static_cast<std::size_t>(y * side + inside(x + k))];
      }
      result[static_cast<std::size_t>(x * side + y)] = static_cast<float>(sum);
    }
  }
  return result;
}

BinaryImage nuclear_pixels(std::span<const float> smoothed, int side, double mpp, double threshold) {
  BinaryImage image{{side, side}, std::vector<std::uint8_t>(smoothed.size(), 1)};
  const std::vector<float> around =
      local_statistics(smoothed, image.pixels, image.size, static_cast<int>(std::lround(kSurroundingsUm / mpp))).mean;
  for (std::size_t i = 0; i < smoothed.size(); ++i) {
    image.pixels[i] = smoothed[i] > threshold && smoothed[i] > around[i] ? 1 : 0;
  }
  const auto smaller_than = [&](double um2) {
    return [limit = um2 / (mpp * mpp)](std::span<const std::int64_t> pixels, bool) {
      return static_cast<double>(pixels.size()) < limit;
    };
  };
  flip_components(image, 1, smaller_than(kSpeckUm2));
  flip_components(image, 0, [&](std::span<const std::int64_t> pixels, bool touches_edge) {
    return !touches_edge && smaller_than(kHoleUm2)(pixels, touches_edge);
  });
  return image;
}

/// Squared distance in px to the nearest unset pixel; what is outside the picture is unknown and does not count
/// (Felzenszwalb and Huttenlocher, "Distance transforms of sampled functions", 2012).
class SquaredDistance {
 public:
  explicit SquaredDistance(int side)
      : side_(side), parabolas_(static_cast<std::size_t>(side)), bounds_(static_cast<std::size_t>(side) + 1) {}

  std::vector<double> of(const BinaryImage& image) {
    std::vector<double> distance(image.pixels.size());
    std::ranges::transform(image.pixels, distance.begin(), [&](std::uint8_t set) { return set != 0 ? kFar : 0.0; });
    for (int x = 0; x < side_; ++x) along(&distance[static_cast<std::size_t>(x)], side_);
    for (int y = 0; y < side_; ++y) along(&distance[static_cast<std::size_t>(y * side_)], 1);
    return distance;
  }

 private:
  static constexpr double kFar = 1e12;

  /// The lower envelope of parabolas over one line of the picture.
  void along(double* values, std::ptrdiff_t stride) {
    line_.assign(static_cast<std::size_t>(side_), 0);
    for (int i = 0; i < side_; ++i) line_[static_cast<std::size_t>(i)] = values[i * stride];
    const auto value = [&](int i) { return line_[static_cast<std::size_t>(i)]; };
    const auto crossing = [&](int p, int q) {
      return (value(q) + 1.0 * q * q - value(p) - 1.0 * p * p) / (2.0 * (q - p));
    };
    std::size_t last = 0;
    parabolas_[0] = 0;
    bounds_[0] = -std::numeric_limits<double>::infinity();
    for (int q = 1; q < side_; ++q) {
      double from = crossing(parabolas_[last], q);
      while (from <= bounds_[last]) from = crossing(parabolas_[--last], q);
      parabolas_[++last] = q;
      bounds_[last] = from;
    }
    std::size_t at = 0;
    for (int i = 0; i < side_; ++i) {
      while (at < last && bounds_[at + 1] <= i) ++at;
      const int p = parabolas_[at];
      values[i * stride] = value(p) + 1.0 * (i - p) * (i - p);
    }
  }

  int side_;
  std::vector<int> parabolas_;
  std::vector<double> bounds_, line_;
};

/// Watershed of heights by flooding from the tops: each pixel, from the highest down, joins what it touches; two basins
/// that meet become one unless both rise at least `depth` above the place.
class Basins {
 public:
  Basins(std::vector<float> heights, int side, double depth)
      : heights_(std::move(heights)), side_(side), depth_(depth), parent_(heights_.size(), -1) {}

  /// [side, side]: index of the basin's top, or -1 where the height is 0.
  std::vector<std::int32_t> flood() {
    std::vector<std::int32_t> order;
    for (std::size_t i = 0; i < heights_.size(); ++i) {
      if (heights_[i] > 0) order.push_back(static_cast<std::int32_t>(i));
    }
    std::ranges::stable_sort(order, std::greater<>(), [&](std::int32_t i) { return height(i); });
    for (const std::int32_t pixel : order) add(pixel);
    std::vector<std::int32_t> labels(heights_.size(), -1);
    for (const std::int32_t pixel : order) labels[static_cast<std::size_t>(pixel)] = top_of(pixel);
    return labels;
  }

 private:
  float height(std::int32_t pixel) const { return heights_[static_cast<std::size_t>(pixel)]; }
  std::int32_t& parent(std::int32_t pixel) { return parent_[static_cast<std::size_t>(pixel)]; }

  std::int32_t top_of(std::int32_t pixel) {
    while (parent(pixel) != pixel) {
      parent(pixel) = parent(parent(pixel));
      pixel = parent(pixel);
    }
    return pixel;
  }

  void add(std::int32_t pixel) {
    parent(pixel) = pixel;
    const std::int32_t x = pixel % side_, y = pixel / side_;
    const auto for_each_neighbour = [&](const auto& work) {
      for (std::int32_t dy = -1; dy <= 1; ++dy) {
        for (std::int32_t dx = -1; dx <= 1; ++dx) {
          if (x + dx < 0 || x + dx >= side_ || y + dy < 0 || y + dy >= side_) continue;
          const std::int32_t neighbour = pixel + dy * side_ + dx;
          if (neighbour != pixel && parent(neighbour) >= 0) work(neighbour);
        }
      }
    };
    // The pixel belongs to where it rises to most.
    std::int32_t highest = pixel;
    for_each_neighbour([&](std::int32_t n) { highest = highest == pixel || higher(n, highest) ? n : highest; });
    if (highest != pixel) meet(pixel, highest);
    for_each_neighbour([&](std::int32_t n) { meet(pixel, n); });
  }

  void meet(std::int32_t pixel, std::int32_t neighbour) {
    std::int32_t ours = top_of(pixel), theirs = top_of(neighbour);
    if (ours == theirs) return;
    if (higher(theirs, ours)) std::swap(ours, theirs);  // `ours` is the higher one and stays
    if (height(theirs) - height(pixel) < depth_ || theirs == pixel) parent(theirs) = ours;
  }

  bool higher(std::int32_t a, std::int32_t b) const { return height(a) != height(b) ? height(a) > height(b) : a < b; }

  std::vector<float> heights_;
  std::int32_t side_;
  double depth_;
  std::vector<std::int32_t> parent_;
};

/// Sums over the pixels of a nucleus.
struct Moments {
  double pixels = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0;

  void add(double px, double py) {
    pixels += 1;
    x += px;
    y += py;
    xx += px * px;
    yy += py * py;
    xy += px * py;
  }

  Nucleus nucleus(double mpp) const {
    const double cx = x / pixels, cy = y / pixels;
    // A pixel is a square, not a point: its own second moment is 1/12.
    const double vx = xx / pixels - cx * cx + 1.0 / 12, vy = yy / pixels - cy * cy + 1.0 / 12,
                 vxy = xy / pixels - cx * cy;
    const double spread = std::sqrt((vx - vy) * (vx - vy) / 4 + vxy * vxy), middle = (vx + vy) / 2;
    return {cx, cy, pixels * mpp * mpp, std::sqrt((middle + spread) / std::max(middle - spread, 1e-9))};
  }
};

}  // namespace

std::vector<float> smooth_haematoxylin(std::span<const float> density, int side, double mpp) {
  const std::vector<double> weights = gaussian(std::max(0.5, kSmoothingUm / mpp));
  return smooth_and_turn(smooth_and_turn(density, side, weights), side, weights);
}

std::vector<Nucleus> find_nuclei(std::span<const float> smoothed, int side, double mpp, double threshold) {
  const BinaryImage image = nuclear_pixels(smoothed, side, mpp, threshold);
  if (std::ranges::all_of(image.pixels, [](std::uint8_t set) { return set != 0; })) return {};
  std::vector<double> squared = SquaredDistance(side).of(image);
  std::vector<float> heights(squared.size());
  std::ranges::transform(squared, heights.begin(), [](double value) { return static_cast<float>(std::sqrt(value)); });
  const std::vector<std::int32_t> labels = Basins(std::move(heights), side, kWaistUm / mpp).flood();

  std::vector<Moments> moments;
  std::vector<std::int32_t> number(labels.size(), -1);  // by top
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0) continue;
    std::int32_t& at = number[static_cast<std::size_t>(labels[i])];
    if (at < 0) {
      at = static_cast<std::int32_t>(moments.size());
      moments.emplace_back();
    }
    const std::size_t row = i / static_cast<std::size_t>(side), column = i % static_cast<std::size_t>(side);
    moments[static_cast<std::size_t>(at)].add(static_cast<double>(column), static_cast<double>(row));
  }
  std::vector<Nucleus> nuclei;
  for (const Moments& sums : moments) {
    const Nucleus nucleus = sums.nucleus(mpp);
    if (nucleus.area_um2 >= kSpeckUm2 && nucleus.area_um2 <= kLargestUm2) nuclei.push_back(nucleus);
  }
  return nuclei;
}

}  // namespace vtissue::stages
