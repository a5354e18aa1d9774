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

constexpr std::array<std::pair<SpotMapping, std::string_view>, 5> kNames{{{SpotMapping::kAuto, "auto"},
                                                                          {SpotMapping::kNearest, "nearest"},
                                                                          {SpotMapping::kDistance, "distance"},
                                                                          {SpotMapping::kInterpolate, "interpolate"},
                                                                          {SpotMapping::kPool, "pool"}}};
constexpr double kDiameterPerPitch = 0.55;  // 55 µm spots, 100 µm apart
constexpr double kPitchesToInterpolate = 1.5;
constexpr double kMostOutside = 0.25;
constexpr double kMostScaleError = 0.2;
constexpr double kMostTwice = 0.1;
constexpr double kMostSizeError = 0.01;

double reach_of(const SpotTable& spots, double half_px, const SpotMappingOptions& options) {
  if (options.max_distance_px) return *options.max_distance_px;
  switch (options.mapping) {
    case SpotMapping::kAuto:
    case SpotMapping::kNearest:
      return spot_radius(spots).value_or(0) + half_px;
    case SpotMapping::kDistance:
      return spot_radius(spots).value_or(0) + half_px * std::numbers::sqrt2;
    case SpotMapping::kPool:
      return half_px * std::numbers::sqrt2;
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
  if (mapping == SpotMapping::kPool) {
    weights.assign(hits.size(), 1.0);
    return;
  }
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
    throw Error(ErrorCode::kUsage, "spot mapping '{}'; expected auto, nearest, distance, interpolate or pool", name);
  }
  return found->first;
}

SpotMapping resolve_mapping(SpotMapping mapping, const SpotTable& spots, double tile_half_px) {
  if (mapping != SpotMapping::kAuto) return mapping;
  return spots.pitch_px && *spots.pitch_px <= tile_half_px ? SpotMapping::kPool : SpotMapping::kNearest;
}

std::optional<double> spot_radius(const SpotTable& spots) {
  if (spots.spot_diameter_px) return *spots.spot_diameter_px / 2;
  if (spots.pitch_px && spots.pitch_um) return *spots.pitch_px * kDiameterPerPitch / 2;
  return std::nullopt;
}

SpotWeights map_spots(const SpotTable& spots, const TileSquares& tiles, const SpotMappingOptions& options) {
  const SpotMapping mapping = resolve_mapping(options.mapping, spots, tiles.half_px);
  if (tiles.x.size() != tiles.y.size()) throw std::logic_error("map_spots: x and y of the tiles differ in number");
  SpotWeights result;
  result.indptr.reserve(tiles.x.size() + 1);
  result.indptr.push_back(0);
  if (spots.x.empty()) {
    result.indptr.resize(tiles.x.size() + 1, 0);
    return result;
  }
  const double reach = reach_of(spots, tiles.half_px, {mapping, options.max_distance_px});
  if (!(reach > 0) || !std::isfinite(reach)) {
    throw Error(ErrorCode::kUsage, "the maximum distance of spots and tiles is {} px, expected a number above 0",
                reach);
  }
  const SpotGrid grid(spots.x, spots.y, reach);
  std::vector<SpotGrid::Hit> hits;
  std::vector<double> weights;
  for (std::size_t tile = 0; tile < tiles.x.size(); ++tile) {
    grid.within(tiles.x[tile], tiles.y[tile], reach, hits);
    if (mapping == SpotMapping::kPool && !options.max_distance_px) {
      // Half-open, so that a spot on the line between two tiles belongs to one of them.
      const double left = tiles.x[tile] - tiles.half_px, top = tiles.y[tile] - tiles.half_px;
      std::erase_if(hits, [&](const SpotGrid::Hit& hit) {
        const double x = spots.x[static_cast<std::size_t>(hit.spot)] - left;
        const double y = spots.y[static_cast<std::size_t>(hit.spot)] - top;
        return !(x >= 0 && y >= 0 && x < 2 * tiles.half_px && y < 2 * tiles.half_px);
      });
    }
    weigh(mapping, reach, hits, weights);
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

namespace {

std::size_t count_twice(const SpotTable& spots) {
  std::vector<std::pair<double, double>> places(spots.x.size());
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = {spots.x[i], spots.y[i]};
  std::ranges::sort(places);
  std::size_t twice = 0;
  for (std::size_t i = 1; i < places.size(); ++i) twice += places[i] == places[i - 1] ? 1 : 0;
  return twice;
}

}  // namespace

SpotPlacement check_placement(const SpotTable& spots, Size<Level0Px> slide, std::optional<double> mpp,
                              std::string_view source, const TissueMap* tissue) {
  SpotPlacement placement;
  for (std::size_t i = 0; i < spots.x.size(); ++i) {
    if (!lies_on(slide, spots.x[i], spots.y[i])) ++placement.outside;
  }
  placement.twice = count_twice(spots);
  const auto more_than = [&](std::size_t count, double share) {
    return static_cast<double>(count) > share * static_cast<double>(spots.x.size());
  };
  if (more_than(placement.twice, kMostTwice)) {
    throw Error(ErrorCode::kBadInput,
                "{}: {} of {} spots lie at another spot's place: are these several sections in one table? Give one "
                "table a section",
                source, placement.twice, spots.x.size());
  }
  const auto differs = [](double a, double b, double by) { return std::abs(a / b - 1) > by; };
  if (const auto image = spots.image_size; image && !image->empty() && !slide.empty()) {
    const auto width = static_cast<double>(image->width), height = static_cast<double>(image->height);
    if (differs(width, static_cast<double>(slide.width), kMostSizeError) ||
        differs(height, static_cast<double>(slide.height), kMostSizeError)) {
      throw Error(ErrorCode::kBadInput,
                  "{}: the spots belong to an image of {} x {} px, the slide has {} x {}: give the full-resolution "
                  "image of the alignment",
                  source, image->width, image->height, slide.width, slide.height);
    }
  }
  if (more_than(placement.outside, kMostOutside)) {
    const auto [left, right] = std::ranges::minmax(spots.x);
    const auto [top, bottom] = std::ranges::minmax(spots.y);
    throw Error(ErrorCode::kBadInput,
                "{}: {} of {} spots lie outside the slide (spots x {:.0f} to {:.0f}, y {:.0f} to {:.0f}; slide {} x {} "
                "px){}: is it another image than the one the spots were aligned to, or one at another scale? Give the "
                "full-resolution image of the alignment",
                source, placement.outside, spots.x.size(), left, right, top, bottom, slide.width, slide.height,
                explain_misfit(spots, slide, mpp, tissue));
  }
  if (spots.pitch_px && spots.pitch_um) placement.mpp_from_pitch = *spots.pitch_um / *spots.pitch_px;
  if (spots.mpp) placement.mpp_from_pitch = spots.mpp;
  if (placement.mpp_from_pitch && mpp && differs(*placement.mpp_from_pitch, *mpp, kMostScaleError)) {
    const std::string from = spots.mpp ? fmt::format("the spots' file states {:.3f} µm/px", *spots.mpp)
                                       : fmt::format(
                                             "the spots are {:.1f} px apart, nominally {:.0f} µm, which makes "
                                             "{:.3f} µm/px",
                                             *spots.pitch_px, *spots.pitch_um, *placement.mpp_from_pitch);
    throw Error(ErrorCode::kBadInput,
                "{}: {}, but the slide has {:.3f}{}: is it another image than the one the spots were aligned to, or is "
                "its µm/px wrong (--mpp)?",
                source, from, *mpp, explain_misfit(spots, slide, mpp, tissue));
  }
  return placement;
}

}  // namespace vtissue::io
