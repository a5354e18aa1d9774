#include "io/spot_mapping.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <stdexcept>

#include "core/error.h"
#include "io/spot_grid.h"

namespace vtissue::io {
namespace {

constexpr std::array<std::pair<SpotMapping, std::string_view>, 3> kNames{{{SpotMapping::kNearest, "nearest"},
                                                                          {SpotMapping::kDistance, "distance"},
                                                                          {SpotMapping::kInterpolate, "interpolate"}}};
constexpr double kDiameterPerPitch = 0.55;  // 55 µm spots, 100 µm apart
constexpr double kPitchesToInterpolate = 1.5;
constexpr double kMostOutside = 0.25;
constexpr double kMostScaleError = 0.2;

double spot_radius(const SpotTable& spots) {
  if (spots.spot_diameter_px) return *spots.spot_diameter_px / 2;
  return spots.pitch_px ? *spots.pitch_px * kDiameterPerPitch / 2 : 0;
}

double reach_of(const SpotTable& spots, double half_px, const SpotMappingOptions& options) {
  if (options.max_distance_px) return *options.max_distance_px;
  switch (options.mapping) {
    case SpotMapping::kNearest:
      return spot_radius(spots) + half_px;
    case SpotMapping::kDistance:
      return spot_radius(spots) + half_px * std::numbers::sqrt2;
    case SpotMapping::kInterpolate:
      break;
  }
  const std::optional<double> pitch = spots.pitch_px ? spots.pitch_px : median_neighbor_distance(spots.x, spots.y);
  if (!pitch) {
    throw Error(ErrorCode::kBadInput, "the {} spots of this {} table do not tell their pitch; give a maximum distance",
                spots.x.size(), spots.source);
  }
  return kPitchesToInterpolate * *pitch;
}

/// Turns hits into weights that are not normalised; hits without weight are dropped.
void weigh(SpotMapping mapping, double reach, std::vector<SpotGrid::Hit>& hits, std::vector<double>& weights) {
  weights.clear();
  if (hits.empty()) return;
  const auto nearest = std::ranges::min_element(hits, {}, &SpotGrid::Hit::distance);
  // A spot at the tile's centre leaves nothing to the others, and no division by zero.
  const bool centred = mapping == SpotMapping::kInterpolate && nearest->distance < 1e-6 * reach;
  if (mapping == SpotMapping::kNearest || centred) {
    hits = {*nearest};
    weights = {1.0};
    return;
  }
  if (mapping == SpotMapping::kDistance) {
    std::erase_if(hits, [&](const SpotGrid::Hit& hit) { return hit.distance >= reach; });
  }
  for (const SpotGrid::Hit& hit : hits) {
    weights.push_back(mapping == SpotMapping::kDistance ? 1 - hit.distance / reach : 1 / (hit.distance * hit.distance));
  }
}

}  // namespace

std::string_view to_string(SpotMapping mapping) {
  return std::ranges::find(kNames, mapping, &std::pair<SpotMapping, std::string_view>::first)->second;
}

SpotMapping parse_spot_mapping(std::string_view name) {
  const auto found = std::ranges::find(kNames, name, &std::pair<SpotMapping, std::string_view>::second);
  if (found == kNames.end()) {
    throw Error(ErrorCode::kUsage, "spot mapping '{}'; expected nearest, distance or interpolate", name);
  }
  return found->first;
}

SpotWeights map_spots(const SpotTable& spots, const TileSquares& tiles, const SpotMappingOptions& options) {
  if (tiles.x.size() != tiles.y.size()) throw std::logic_error("map_spots: x and y of the tiles differ in number");
  SpotWeights result;
  result.indptr.reserve(tiles.x.size() + 1);
  result.indptr.push_back(0);
  if (spots.x.empty()) {
    result.indptr.resize(tiles.x.size() + 1, 0);
    return result;
  }
  const double reach = reach_of(spots, tiles.half_px, options);
  if (!(reach > 0) || !std::isfinite(reach)) {
    throw Error(ErrorCode::kUsage, "the maximum distance of spots and tiles is {} px, expected a number above 0",
                reach);
  }
  const SpotGrid grid(spots.x, spots.y, reach);
  std::vector<SpotGrid::Hit> hits;
  std::vector<double> weights;
  for (std::size_t tile = 0; tile < tiles.x.size(); ++tile) {
    grid.within(tiles.x[tile], tiles.y[tile], reach, hits);
    weigh(options.mapping, reach, hits, weights);
    double sum = 0;
    for (const double weight : weights) sum += weight;
    for (std::size_t i = 0; i < hits.size(); ++i) {
      result.spots.push_back(hits[i].spot);
      result.weights.push_back(static_cast<float>(weights[i] / sum));
    }
    result.indptr.push_back(static_cast<std::int64_t>(result.spots.size()));
  }
  return result;
}

std::vector<float> apply_weights(const SpotWeights& weights, std::span<const float> values, std::size_t width,
                                 std::size_t first, std::size_t count) {
  std::vector<float> out(count * width, 0.0f);
  std::vector<double> sums(width);
  for (std::size_t tile = first; tile < first + count; ++tile) {
    if (weights.spots_of(tile) == 0) continue;
    std::ranges::fill(sums, 0.0);
    for (auto i = weights.indptr[tile]; i < weights.indptr[tile + 1]; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto row = values.subspan(static_cast<std::size_t>(weights.spots[at]) * width, width);
      const double weight = weights.weights[at];
      for (std::size_t k = 0; k < width; ++k) sums[k] += weight * row[k];
    }
    std::ranges::transform(sums, out.begin() + static_cast<std::ptrdiff_t>((tile - first) * width),
                           [](double sum) { return static_cast<float>(sum); });
  }
  return out;
}

bool lies_on(Size<Level0Px> slide, double x, double y) {
  return x >= 0 && y >= 0 && x < static_cast<double>(slide.width) && y < static_cast<double>(slide.height);
}

SpotPlacement check_placement(const SpotTable& spots, Size<Level0Px> slide, std::optional<double> mpp,
                              std::string_view source) {
  SpotPlacement placement;
  for (std::size_t i = 0; i < spots.x.size(); ++i) {
    if (!lies_on(slide, spots.x[i], spots.y[i])) ++placement.outside;
  }
  if (static_cast<double>(placement.outside) > kMostOutside * static_cast<double>(spots.x.size())) {
    const auto [left, right] = std::ranges::minmax(spots.x);
    const auto [top, bottom] = std::ranges::minmax(spots.y);
    throw Error(ErrorCode::kBadInput,
                "{}: {} of {} spots lie outside the slide (spots x {:.0f} to {:.0f}, y {:.0f} to {:.0f}; slide {} x {} "
                "px): is it another image than the one the spots were aligned to, or one at another scale? Give the "
                "full-resolution image of the alignment",
                source, placement.outside, spots.x.size(), left, right, top, bottom, slide.width, slide.height);
  }
  if (spots.pitch_px && spots.pitch_um) placement.mpp_from_pitch = *spots.pitch_um / *spots.pitch_px;
  if (placement.mpp_from_pitch && mpp && std::abs(*placement.mpp_from_pitch / *mpp - 1) > kMostScaleError) {
    throw Error(ErrorCode::kBadInput,
                "{}: the spots are {:.1f} px apart, nominally {:.0f} µm, which makes {:.3f} µm/px, but the slide has "
                "{:.3f}: is it another image than the one the spots were aligned to, or is its µm/px wrong (--mpp)?",
                source, *spots.pitch_px, *spots.pitch_um, *placement.mpp_from_pitch, *mpp);
  }
  return placement;
}

}  // namespace vtissue::io
