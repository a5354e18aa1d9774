#include "io/alignment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace vtissue::io {
namespace {

constexpr std::size_t kAlignmentSpots = 20000;
constexpr double kMostOffSlide = 0.05;  // of a placing that is proposed
constexpr double kClearlyDarker = 1.1;  // with a correlation that rises too
constexpr double kFarDarker = 1.3;      // whatever the correlation does
constexpr double kRisingCorrelation = 0.05;
// A mask has no darkness that counts could follow, but tells tissue from glass: spots in tissue lie on it.
constexpr double kOnMask = 0.9, kMoreOnMask = 1.05, kFarMoreOnMask = 1.15;
constexpr double kSmallestExtent = 0.25;  // of the slide's sides: spots that shrink to a dot may fall on a dark one
constexpr double kLargestScale = 64;

struct SpotSample {
  std::vector<double> x, y, totals;
};

SpotSample spot_sample(const SpotTable& spots, std::span<const double> totals) {
  SpotSample sample;
  const std::size_t step = spots.x.size() / kAlignmentSpots + 1;
  for (std::size_t i = 0; i < spots.x.size(); i += step) {
    sample.x.push_back(spots.x[i]);
    sample.y.push_back(spots.y[i]);
    if (!totals.empty()) sample.totals.push_back(totals[i]);
  }
  return sample;
}

/// Sums over boxes of a map in constant time.
class BoxMeans {
 public:
  BoxMeans(const TissueMap& map, double radius_px)
      : map_(map), radius_(std::max<std::int64_t>(0, std::llround(radius_px / map.downsample))) {
    const auto width = static_cast<std::size_t>(map.size.width) + 1;
    sums_.assign(width * (static_cast<std::size_t>(map.size.height) + 1), 0.0);
    for (std::size_t row = 1; row <= static_cast<std::size_t>(map.size.height); ++row) {
      double along = 0;
      for (std::size_t column = 1; column < width; ++column) {
        along += map.density[(row - 1) * (width - 1) + column - 1];
        sums_[row * width + column] = sums_[(row - 1) * width + column] + along;
      }
    }
  }

  /// Mean around a place on level 0; nothing off the map.
  std::optional<double> at(double x, double y) const {
    const double column = std::floor(x / map_.downsample), row = std::floor(y / map_.downsample);
    const auto width = static_cast<double>(map_.size.width), height = static_cast<double>(map_.size.height);
    if (!(column >= 0 && row >= 0 && column < width && row < height)) return std::nullopt;
    const std::int64_t left = std::max<std::int64_t>(0, static_cast<std::int64_t>(column) - radius_);
    const std::int64_t top = std::max<std::int64_t>(0, static_cast<std::int64_t>(row) - radius_);
    const std::int64_t right = std::min(map_.size.width, static_cast<std::int64_t>(column) + radius_ + 1);
    const std::int64_t bottom = std::min(map_.size.height, static_cast<std::int64_t>(row) + radius_ + 1);
    const double sum = sum_to(right, bottom) - sum_to(left, bottom) - sum_to(right, top) + sum_to(left, top);
    return sum / static_cast<double>((right - left) * (bottom - top));
  }

 private:
  double sum_to(std::int64_t column, std::int64_t row) const {
    return sums_[static_cast<std::size_t>(row * (map_.size.width + 1) + column)];
  }
  const TissueMap& map_;
  std::int64_t radius_;
  std::vector<double> sums_;
};

/// Ranks from 0, ties by their mean.
std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> rank(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) rank[order[i]] = (static_cast<double>(begin + end) - 1) / 2;
    begin = end;
  }
  return rank;
}

double spearman(const std::vector<double>& a, const std::vector<double>& b) {
  constexpr std::size_t kFewest = 10;
  if (a.size() != b.size() || a.size() < kFewest) return 0;
  const std::vector<double> ra = ranks_of(a), rb = ranks_of(b);
  const double mean = (static_cast<double>(a.size()) - 1) / 2;
  double aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    aa += (ra[i] - mean) * (ra[i] - mean);
    bb += (rb[i] - mean) * (rb[i] - mean);
    ab += (ra[i] - mean) * (rb[i] - mean);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

Fit fit_of(const SpotSample& sample, const Placing& placing, const BoxMeans& tissue, Size<Level0Px> slide) {
  Fit fit{placing, 0, 0, 0};
  std::vector<double> densities;
  for (std::size_t i = 0; i < sample.x.size(); ++i) {
    const auto [x, y] = placing.apply(sample.x[i], sample.y[i], slide);
    const std::optional<double> density = tissue.at(x, y);
    densities.push_back(density.value_or(0));
    fit.on_slide += density ? 1 : 0;
    fit.density += density.value_or(0);
  }
  fit.on_slide /= static_cast<double>(sample.x.size());
  fit.density /= static_cast<double>(sample.x.size());
  fit.correlation = spearman(densities, sample.totals);
  return fit;
}

std::vector<Placing> orientations() {
  std::vector<Placing> all;
  for (const bool swapped : {false, true}) {
    for (const bool mirrored_x : {false, true}) {
      for (const bool mirrored_y : {false, true}) all.push_back({swapped, mirrored_x, mirrored_y, 1});
    }
  }
  return all;
}

double extent_share(const SpotSample& sample, double scale, Size<Level0Px> slide) {
  const auto [left, right] = std::ranges::minmax(sample.x);
  const auto [top, bottom] = std::ranges::minmax(sample.y);
  return scale * std::max((right - left) / static_cast<double>(slide.width),
                          (bottom - top) / static_cast<double>(slide.height));
}

/// How well spots of an array of `pitch_px` cover the tissue, 0 to 1: the harmonic mean of how dark it is under them,
/// relative to the tissue's own mean, and of the share of the tissue that their cells hold. The darkness alone would
/// shrink the spots into the darkest corner.
class Coverage {
 public:
  Coverage(const TissueMap& tissue, std::size_t spots, double pitch_px) {
    double sum = 0, squares = 0;
    for (const float density : tissue.density) {
      sum += density;
      squares += double{density} * density;
    }
    mean_ = sum > 0 ? squares / sum : 0;
    share_of_density_ =
        sum > 0 ? static_cast<double>(spots) * pitch_px * pitch_px / (sum * tissue.downsample * tissue.downsample) : 0;
  }
  double of(const Fit& fit) const {
    if (!(mean_ > 0) || fit.density <= 0) return 0;
    const double scale = fit.placing.scale;
    const double dark = std::min(1.0, fit.density / mean_);
    const double held = std::min(1.0, fit.density * share_of_density_ * scale * scale);
    return 2 * dark * held / (dark + held);
  }

 private:
  double mean_, share_of_density_;
};

/// The scale at which the spots cover the tissue best, of those that keep them on the slide and apart.
std::optional<Fit> best_scale(const SpotSample& sample, const Coverage& coverage, const BoxMeans& tissue,
                              Size<Level0Px> slide) {
  std::optional<Fit> best;
  const auto try_scale = [&](double scale) {
    if (extent_share(sample, scale, slide) < kSmallestExtent) return;
    const Fit fit = fit_of(sample, {.scale = scale}, tissue, slide);
    if (fit.on_slide < 1 - kMostOffSlide || (best && coverage.of(fit) <= coverage.of(*best))) return;
    best = fit;
  };
  constexpr int kSteps = 96;  // of a factor 64^(1/96) each way, 4.4 %
  for (int step = -kSteps; step <= kSteps; ++step) try_scale(std::pow(kLargestScale, step / double{kSteps}));
  if (!best) return best;
  const double around = best->placing.scale;
  for (int step = -8; step <= 8; ++step) try_scale(around * (1 + 0.005 * step));
  return best;
}

double alignment_radius(const SpotTable& spots) {
  if (spots.spot_diameter_px) return *spots.spot_diameter_px / 2;
  return spots.pitch_px ? *spots.pitch_px / 4 : 0;
}

}  // namespace

std::pair<double, double> Placing::apply(double x, double y, Size<Level0Px> slide) const {
  if (swapped) std::swap(x, y);
  if (mirrored_x) x = static_cast<double>(slide.width) - x;
  if (mirrored_y) y = static_cast<double>(slide.height) - y;
  return {x * scale, y * scale};
}

std::string Placing::describe() const {
  if (scale != 1) return fmt::format("x and y are multiplied by {:.2g}", scale);
  std::string text = swapped ? "x and y are swapped" : "";
  const std::string_view mirrored = mirrored_x && mirrored_y ? "x and y are mirrored"
                                    : mirrored_x             ? "x is mirrored"
                                    : mirrored_y             ? "y is mirrored"
                                                             : "";
  if (mirrored.empty()) return text.empty() ? "nothing is changed" : text;
  return text.empty() ? std::string(mirrored) : fmt::format("{} and then {}", text, mirrored);
}

std::string Alignment::advice() const {
  if (!better) return "";
  return fmt::format(
      "spots fit when {}: the slide is then {:.2f} times as dark under them, and their counts follow its darkness with "
      "a "
      "correlation of {:.2f} instead of {:.2f}",
      better->placing.describe(), given.density > 0 ? std::min(better->density / given.density, 99.0) : 99.0,
      better->correlation, given.correlation);
}

TissueMap tissue_map(std::span<const std::uint8_t> rgb, Size<LevelPx> size, double downsample) {
  TissueMap map{size, downsample, {}};
  map.density.resize(static_cast<std::size_t>(size.area()));
  for (std::size_t i = 0; i < map.density.size(); ++i) {
    const float mean = (static_cast<float>(rgb[3 * i]) + rgb[3 * i + 1] + rgb[3 * i + 2]) / 3;
    map.density[i] = -std::log10((mean + 1) / 256);
  }
  if (map.density.empty()) return map;
  std::vector<float> sorted = map.density;
  const auto glass = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 20);
  std::ranges::nth_element(sorted, glass);
  for (float& density : map.density) density = std::max(0.0f, density - *glass);
  return map;
}

TissueMap tissue_map_of_mask(std::span<const std::uint8_t> mask, Size<LevelPx> size, double downsample) {
  TissueMap map{size, downsample, {}};
  for (const std::uint8_t tissue : mask) map.density.push_back(tissue != 0 ? 1.0f : 0.0f);
  return map;
}

Alignment check_alignment(const SpotTable& spots, std::span<const double> totals, const TissueMap& tissue,
                          Size<Level0Px> slide) {
  constexpr std::size_t kFewestSpots = 20;
  Alignment alignment;
  if (spots.x.size() < kFewestSpots || tissue.size.empty()) return alignment;
  const SpotSample sample = spot_sample(spots, totals);
  const BoxMeans means(tissue, alignment_radius(spots));
  alignment.given = fit_of(sample, {}, means, slide);
  const Fit& given = alignment.given;
  const bool is_mask = std::ranges::all_of(tissue.density, [](float density) { return density == 0 || density == 1; });
  for (const Placing& placing : orientations()) {
    if (placing.as_given()) continue;
    const Fit fit = fit_of(sample, placing, means, slide);
    if (fit.on_slide < 1 - kMostOffSlide || fit.density <= 0) continue;
    const double gain = given.density > 0 ? fit.density / given.density : kFarDarker;
    const bool supported = is_mask ? fit.density >= kOnMask : fit.correlation >= given.correlation + kRisingCorrelation;
    const double worth_naming = is_mask ? kMoreOnMask : 1, refuting = is_mask ? kFarMoreOnMask : kClearlyDarker;
    if (gain < (supported ? worth_naming : kFarDarker)) continue;
    if (alignment.better && fit.density <= alignment.better->density) continue;
    alignment.better = fit;
    alignment.refuted = gain >= (supported ? refuting : kFarDarker);
  }
  // A scale that the array tells is check_placement()'s to compare.
  if (spots.pitch_um || spots.mpp || !spots.pitch_px) return alignment;
  const Coverage coverage(tissue, spots.x.size(), *spots.pitch_px);
  const auto scaled = best_scale(sample, coverage, means, slide);
  if (scaled && scaled->correlation > 0 && coverage.of(*scaled) > kFarDarker * coverage.of(given) &&
      scaled->density > kFarDarker * given.density &&
      (!alignment.better || coverage.of(*scaled) > kClearlyDarker * coverage.of(*alignment.better))) {
    alignment.better = scaled;
    alignment.refuted = true;
  }
  return alignment;
}

std::string explain_misfit(const SpotTable& spots, Size<Level0Px> slide, std::optional<double> mpp,
                           const TissueMap* tissue) {
  if (spots.x.empty() || slide.empty()) return "";
  const SpotSample sample = spot_sample(spots, {});
  // Without a look at the tissue the slide's box has to do.
  const TissueMap box{{1, 1}, static_cast<double>(std::max(slide.width, slide.height)), {1.0f}};
  const BoxMeans means(tissue != nullptr ? *tissue : box, alignment_radius(spots));
  std::optional<Fit> best;
  const auto try_placing = [&](const Placing& placing) {
    std::size_t on_slide = 0;
    for (std::size_t i = 0; i < sample.x.size(); ++i) {
      const auto [x, y] = placing.apply(sample.x[i], sample.y[i], slide);
      const auto width = static_cast<double>(slide.width), height = static_cast<double>(slide.height);
      on_slide += x >= 0 && y >= 0 && x < width && y < height ? 1 : 0;
    }
    if (static_cast<double>(on_slide) < (1 - kMostOffSlide) * static_cast<double>(sample.x.size())) return;
    const Fit fit = fit_of(sample, placing, means, slide);
    if (!best || fit.density > best->density) best = fit;
  };
  const std::optional<double> spots_mpp =
      spots.mpp ? spots.mpp
                : (spots.pitch_um && spots.pitch_px ? std::optional(*spots.pitch_um / *spots.pitch_px) : std::nullopt);
  if (spots_mpp && mpp && std::abs(*spots_mpp / *mpp - 1) > 0.03) {
    try_placing({.scale = *spots_mpp / *mpp});
  } else {
    try_placing({.swapped = true});
    if (tissue != nullptr) {
      for (const Placing& placing : orientations()) try_placing(placing);
      if (spots.pitch_px && (!spots_mpp || !mpp)) {
        const Coverage coverage(*tissue, spots.x.size(), *spots.pitch_px);
        const auto scaled = best_scale(sample, coverage, means, slide);
        if (scaled && (!best || coverage.of(*scaled) > kClearlyDarker * coverage.of(*best))) best = scaled;
      }
    }
  }
  if (!best || best->placing.as_given()) return "";
  return fmt::format("; spots fit when {}", best->placing.describe());
}

}  // namespace vtissue::io
