#include "stages/tile/tissue_mask.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "stages/tile/morphology.h"

namespace vtissue::stages {
namespace {

// Lengths on the glass, µm.
constexpr double kTextureRadius = 32;  // some three nuclei to each side
constexpr double kGlassRadius = 400;   // over which leaked stain and lamp change slowly
constexpr double kGapRadius = 16;      // clefts that belong to the tissue
constexpr double kThreadRadius = 8;    // scratches and hairs are thinner than twice this

// Optical densities (log10), mean of the channels.
constexpr double kDense = 0.10;          // darker than any tinted glass met so far (0.02 at most)
constexpr double kLeastTexture = 0.012;  // glass has 0.002..0.004, pale stroma and fat 0.03 and more
constexpr double kMostTexture = 0.03;
constexpr double kNoiseFactor = 4;     // threshold over the glass's own texture
constexpr double kEdgeDensity = 0.02;  // a pixel of the rim with less over the glass beside it is glass
constexpr double kSharpShare = 0.25;   // of a piece's pixels; dust out of focus has none, tissue 0.9
constexpr float kSmooth = 0.02f;       // texture that glass never exceeds

constexpr int kBlack = 40;             // no channel of stained tissue stays under this over a whole border
constexpr int kSaturated = 254;        // white painted by the scanner where it has not scanned
constexpr int kMostTint = 60;          // largest minus smallest channel of glass
constexpr double kAssumedWhite = 242;  // where a picture shows no glass

int radius_px(double micrometres, double mpp) { return std::max(1, static_cast<int>(std::lround(micrometres / mpp))); }

struct Picture {
  std::span<const std::uint8_t> rgb;
  Size<LevelPx> size;
  const std::uint8_t* at(std::size_t pixel) const { return &rgb[3 * pixel]; }
  std::size_t count() const { return static_cast<std::size_t>(size.area()); }
};

int luminance(const std::uint8_t* p) { return (p[0] + p[1] + p[2] + 1) / 3; }

/// Black parts that reach the edge of the picture; pigment and folds inside do not count.
BinaryImage black_border(const Picture& picture) {
  BinaryImage black{picture.size, std::vector<std::uint8_t>(picture.count())};
  for (std::size_t i = 0; i < picture.count(); ++i) {
    const std::uint8_t* p = picture.at(i);
    black.pixels[i] = std::max({p[0], p[1], p[2]}) < kBlack;
  }
  flip_components(black, 1, [](std::span<const std::int64_t>, bool touches_edge) { return !touches_edge; });
  return dilate(black, 1);
}

struct Glass {
  std::array<double, 3> rgb{kAssumedWhite, kAssumedWhite, kAssumedWhite};
  bool found = false;
  double texture = 0;  ///< median local deviation of log intensity
};

/// The brightest colour that many smooth, hardly tinted pixels share.
Glass find_glass(const Picture& picture, std::span<const std::uint8_t> valid, const LocalStatistics& log_intensity) {
  std::array<std::int64_t, 256> brightness{};
  for (std::size_t i = 0; i < picture.count(); ++i) {
    if (valid[i]) ++brightness[luminance(picture.at(i))];
  }
  const std::int64_t valid_count = std::accumulate(brightness.begin(), brightness.end(), std::int64_t{0});
  int bright = 255;  // 99th percentile
  for (std::int64_t above = 0; bright > 0 && (above += brightness[bright]) * 100 < valid_count; --bright) {
  }

  std::vector<std::size_t> candidates;
  std::array<std::int64_t, 256> histogram{};
  std::vector<std::size_t> saturated;
  for (std::size_t i = 0; i < picture.count(); ++i) {
    if (!valid[i] || log_intensity.deviation[i] > kSmooth) continue;
    const std::uint8_t* p = picture.at(i);
    const auto [low, high] = std::minmax({p[0], p[1], p[2]});
    if (high - low > kMostTint || luminance(p) < 0.6 * bright) continue;
    if (low >= kSaturated) {
      saturated.push_back(i);
      continue;
    }
    candidates.push_back(i);
    ++histogram[luminance(p)];
  }
  const std::int64_t enough = std::max<std::int64_t>(50, valid_count / 200);
  if (static_cast<std::int64_t>(candidates.size()) < enough) {
    // Nothing but painted white around the tissue, or no glass at all.
    Glass glass;
    if (static_cast<std::int64_t>(saturated.size()) >= enough) glass = {{255, 255, 255}, true, 0};
    return glass;
  }

  // Peaks over windows of nine levels; of those with a fifth of the highest, the brightest.
  std::array<std::int64_t, 256> smoothed{};
  for (int level = 0; level < 256; ++level) {
    for (int near = std::max(0, level - 4); near <= std::min(255, level + 4); ++near)
      smoothed[level] += histogram[near];
  }
  const std::int64_t highest = *std::max_element(smoothed.begin(), smoothed.end());
  int peak = 255;
  while (smoothed[peak] * 5 < highest) --peak;
  while (peak > 0 && smoothed[peak - 1] >= smoothed[peak]) --peak;

  Glass glass;
  glass.found = true;
  std::array<std::vector<std::uint8_t>, 3> channels;
  std::vector<float> textures;
  for (const std::size_t i : candidates) {
    if (std::abs(luminance(picture.at(i)) - peak) > 6) continue;
    for (int c = 0; c < 3; ++c) channels[c].push_back(picture.at(i)[c]);
    textures.push_back(log_intensity.deviation[i]);
  }
  const auto median = [](auto& values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return static_cast<double>(*middle);
  };
  for (int c = 0; c < 3; ++c) glass.rgb[c] = median(channels[c]);
  glass.texture = median(textures);
  return glass;
}

/// Mean optical density of the channels over the glass, 0 where brighter.
std::vector<float> optical_density(const Picture& picture, const std::array<double, 3>& glass) {
  std::array<std::array<float, 256>, 3> density;
  for (int c = 0; c < 3; ++c) {
    for (int level = 0; level < 256; ++level) {
      density[c][level] = static_cast<float>(std::max(0.0, std::log10((glass[c] + 1) / (level + 1))) / 3);
    }
  }
  std::vector<float> result(picture.count());
  for (std::size_t i = 0; i < picture.count(); ++i) {
    const std::uint8_t* p = picture.at(i);
    result[i] = density[0][p[0]] + density[1][p[1]] + density[2][p[2]];
  }
  return result;
}

/// The texture window reaches over the tissue's rim; takes back, from outside in, the rim's pixels that
/// are no denser than the glass around. Structures inside stay.
void trim_rim(BinaryImage& tissue, std::span<const float> density, std::span<const std::uint8_t> valid, double mpp,
              int rim) {
  std::vector<std::uint8_t> glass(tissue.pixels.size());
  for (std::size_t i = 0; i < glass.size(); ++i) glass[i] = valid[i] && !tissue.pixels[i];
  const LocalStatistics around = local_statistics(density, glass, tissue.size, radius_px(kGlassRadius, mpp));
  const LocalStatistics here = local_statistics(density, valid, tissue.size, 1);
  for (int step = 0; step < rim; ++step) {
    const BinaryImage core = erode(tissue, 1);
    for (std::size_t i = 0; i < glass.size(); ++i) {
      if (tissue.pixels[i] && !core.pixels[i] && here.mean[i] < around.mean[i] + kEdgeDensity) tissue.pixels[i] = 0;
    }
  }
}

}  // namespace

double TissueMask::tissue_fraction() const {
  if (mask.empty()) return 0;
  return static_cast<double>(std::count(mask.begin(), mask.end(), 1)) / static_cast<double>(mask.size());
}

TissueMask find_tissue(std::span<const std::uint8_t> rgb, Size<LevelPx> size, double mpp,
                       const TissueMaskOptions& options) {
  if (size.empty() || static_cast<std::int64_t>(rgb.size()) != size.area() * 3 || !(mpp > 0)) {
    throw std::invalid_argument("find_tissue: the picture does not fit its size, or mpp is not positive");
  }
  const Picture picture{rgb, size};
  const BinaryImage black = black_border(picture);
  std::vector<std::uint8_t> valid(picture.count());
  std::vector<float> log_intensity(picture.count());
  for (std::size_t i = 0; i < picture.count(); ++i) {
    valid[i] = !black.pixels[i];
    log_intensity[i] = std::log10(static_cast<float>(luminance(picture.at(i)) + 1));
  }

  const int texture_radius = radius_px(kTextureRadius, mpp);
  const Glass glass = find_glass(picture, valid, local_statistics(log_intensity, valid, size, texture_radius));
  TissueMask result;
  result.size = size;
  result.background_rgb = glass.rgb;
  result.background_found = glass.found;
  result.texture_threshold = std::clamp(kNoiseFactor * glass.texture, kLeastTexture, kMostTexture);
  result.black_fraction = static_cast<double>(std::count(black.pixels.begin(), black.pixels.end(), 1)) /
                          static_cast<double>(picture.count());

  // Clipped at the glass, so that steps between glass and painted white are no texture.
  const std::vector<float> density = optical_density(picture, glass.rgb);
  const LocalStatistics texture = local_statistics(density, valid, size, texture_radius);
  const LocalStatistics fine = local_statistics(density, valid, size, 1);
  BinaryImage tissue{size, std::vector<std::uint8_t>(picture.count())};
  for (std::size_t i = 0; i < picture.count(); ++i) {
    tissue.pixels[i] = valid[i] && (texture.deviation[i] > result.texture_threshold || fine.mean[i] > kDense);
  }
  trim_rim(tissue, density, valid, mpp, texture_radius);

  const int thread = radius_px(kThreadRadius, mpp);
  const int gap = radius_px(kGapRadius, mpp);
  tissue = dilate(erode(tissue, thread), thread);
  tissue = erode(dilate(tissue, gap), gap);
  for (std::size_t i = 0; i < picture.count(); ++i) tissue.pixels[i] &= valid[i];

  const double pixel_mm2 = mpp * mpp * 1e-6;
  flip_components(tissue, 1, [&](std::span<const std::int64_t> pixels, bool) {
    const auto sharp = std::count_if(pixels.begin(), pixels.end(), [&](std::int64_t pixel) {
      return fine.deviation[pixel] > result.texture_threshold;
    });
    const auto count = static_cast<double>(pixels.size());
    return count * pixel_mm2 < options.min_area_mm2 || static_cast<double>(sharp) < kSharpShare * count;
  });
  flip_components(tissue, 0, [&](std::span<const std::int64_t> pixels, bool touches_edge) {
    return !touches_edge && static_cast<double>(pixels.size()) * pixel_mm2 < options.min_hole_mm2;
  });
  result.mask = std::move(tissue.pixels);
  return result;
}

}  // namespace vtissue::stages
