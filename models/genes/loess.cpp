#include "models/genes/loess.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "core/error.h"

namespace vtissue::models {
namespace {

constexpr double kCell = 0.2;      // a leaf of the tree holds at most this share of a neighbourhood
constexpr double kMargin = 0.005;  // by which the outer vertices lie beyond the points
constexpr std::size_t kFewestNeighbors = 4;

struct LocalFit {
  double value = 0;
  double slope = 0;
};

/// Solves a symmetric 3 x 3 system by elimination with pivots.
std::array<double, 3> solve3(std::array<std::array<double, 4>, 3> m) {
  for (std::size_t i = 0; i < 3; ++i) {
    std::size_t pivot = i;
    for (std::size_t row = i + 1; row < 3; ++row) {
      if (std::abs(m[row][i]) > std::abs(m[pivot][i])) pivot = row;
    }
    std::swap(m[i], m[pivot]);
    if (m[i][i] == 0) throw Error(ErrorCode::kBadInput, "a local regression has no solution: too many equal points");
    for (std::size_t row = i + 1; row < 3; ++row) {
      const double factor = m[row][i] / m[i][i];
      for (std::size_t k = i; k < 4; ++k) m[row][k] -= factor * m[i][k];
    }
  }
  std::array<double, 3> result{};
  for (std::size_t i = 3; i-- > 0;) {
    double sum = m[i][3];
    for (std::size_t k = i + 1; k < 3; ++k) sum -= m[i][k] * result[k];
    result[i] = sum / m[i][i];
  }
  return result;
}

/// Quadratic fit at q over the `neighbors` nearest points.
LocalFit fit_at(double q, std::span<const double> x, std::span<const double> y, std::size_t neighbors) {
  std::vector<double> distances;
  for (const double value : x) distances.push_back((value - q) * (value - q));
  std::vector<double> nearest = distances;
  std::nth_element(nearest.begin(), nearest.begin() + static_cast<std::ptrdiff_t>(neighbors - 1), nearest.end());
  const double reach = nearest[neighbors - 1];
  if (reach <= 0) throw Error(ErrorCode::kBadInput, "a local regression over points that are all equal to {}", q);
  const double unit = std::sqrt(reach);
  std::array<std::array<double, 4>, 3> system{};
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (distances[i] >= reach * 0.999) continue;
    // Nearest points have full weight: the original spares itself two roots there.
    const double r = distances[i] > reach * 0.001 ? std::sqrt(distances[i] / reach) : 0.0;
    const double tricube = std::pow(1 - r * r * r, 3);
    const double z = (x[i] - q) / unit;
    const std::array<double, 4> row{1, z, z * z, y[i]};
    for (std::size_t a = 0; a < 3; ++a) {
      for (std::size_t b = 0; b < 4; ++b) system[a][b] += tricube * row[a] * row[b];
    }
  }
  const auto coefficients = solve3(system);
  return {coefficients[0], coefficients[1] / unit};
}

/// Where cells of the tree over sorted x meet, the ends included, ascending.
std::vector<double> tree_vertices(const std::vector<double>& sorted, std::size_t leaf_size) {
  const double extent = std::max(sorted.back() - sorted.front(),
                                 1e-3 * std::max(std::abs(sorted.front()), std::abs(sorted.back())) + 1e-30);
  std::vector<double> vertices{sorted.front() - kMargin * extent, sorted.back() + kMargin * extent};
  struct Cell {
    std::ptrdiff_t first, last;
    double low, high;
  };
  std::vector<Cell> cells{{0, static_cast<std::ptrdiff_t>(sorted.size()) - 1, vertices[0], vertices[1]}};
  const auto at = [&](std::ptrdiff_t i) { return sorted[static_cast<std::size_t>(i)]; };
  while (!cells.empty()) {
    const Cell cell = cells.back();
    cells.pop_back();
    if (cell.last - cell.first + 1 <= static_cast<std::ptrdiff_t>(leaf_size)) continue;
    // The median as the original counts, from one; equal points are not parted, so look left and right of it in turn.
    std::ptrdiff_t middle = (cell.first + cell.last + 2) / 2 - 1;
    std::ptrdiff_t offset = 0;
    while (middle + offset < cell.last && middle + offset >= cell.first) {
      if (at(middle + offset) != at(middle + offset + 1)) {
        middle += offset;
        break;
      }
      offset = -offset;
      if (offset >= 0) ++offset;
    }
    const double cut = at(middle);
    if (cut == cell.low || cut == cell.high) continue;
    vertices.push_back(cut);
    cells.push_back({cell.first, middle, cell.low, cut});
    cells.push_back({middle + 1, cell.last, cut, cell.high});
  }
  std::ranges::sort(vertices);
  return vertices;
}

}  // namespace

std::vector<double> loess(std::span<const double> x, std::span<const double> y, double span) {
  const std::size_t n = x.size();
  const auto finite = [](double value) { return std::isfinite(value); };
  if (y.size() != n || !std::ranges::all_of(x, finite) || !std::ranges::all_of(y, finite)) {
    throw Error(ErrorCode::kBadInput, "a local regression of {} on {} values, of which some may not be finite",
                y.size(), n);
  }
  const auto neighbors =
      std::min(n, static_cast<std::size_t>(std::floor(static_cast<double>(n) * std::max(span, 0.0) + 1e-5)));
  if (neighbors < kFewestNeighbors) {
    throw Error(ErrorCode::kBadInput, "a local regression over {} of {} points; at least {} are needed", neighbors, n,
                kFewestNeighbors);
  }
  std::vector<double> sorted(x.begin(), x.end());
  std::ranges::sort(sorted);
  const std::vector<double> vertices =
      tree_vertices(sorted, static_cast<std::size_t>(std::floor(static_cast<double>(n) * span * kCell)));
  std::vector<LocalFit> fits;
  for (const double vertex : vertices) fits.push_back(fit_at(vertex, x, y, neighbors));
  std::vector<double> result;
  for (const double q : x) {
    const auto above = std::upper_bound(vertices.begin() + 1, vertices.end() - 1, q) - vertices.begin();
    const auto i = static_cast<std::size_t>(above);
    const double width = vertices[i] - vertices[i - 1];
    const double s = (q - vertices[i - 1]) / width;
    const LocalFit& low = fits[i - 1];
    const LocalFit& high = fits[i];
    result.push_back((1 - s) * (1 - s) * (1 + 2 * s) * low.value + s * s * (3 - 2 * s) * high.value +
                     width * (s * (1 - s) * (1 - s) * low.slope - s * s * (1 - s) * high.slope));
  }
  return result;
}

}  // namespace vtissue::models
