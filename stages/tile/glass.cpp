#include "stages/tile/glass.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

namespace vtissue::stages {
namespace {

constexpr double kGlassTextureRadius = 32;  // µm, some three nuclei to each side
constexpr float kSmooth = 0.02f;            // texture that glass never exceeds
constexpr int kBlack = 40;                  // no channel of stained tissue stays under this over a whole border
constexpr int kSaturated = 254;             // white painted by the scanner where it has not scanned
constexpr int kMostTint = 60;               // largest minus smallest channel of glass
constexpr double kAssumedWhite = 242;       // where a picture shows no glass

/// Black parts that reach the edge of the picture.
BinaryImage black_border(const RgbView& picture) {
  BinaryImage black{picture.size, std::vector<std::uint8_t>(picture.count())};
  for (std::size_t i = 0; i < picture.count(); ++i) {
    const std::uint8_t* p = picture.at(i);
    black.pixels[i] = std::max({p[0], p[1], p[2]}) < kBlack;
  }
  if (std::find(black.pixels.begin(), black.pixels.end(), 1) == black.pixels.end()) return black;
  flip_parts(black, 1, [](const Part& part) { return !part.touches_edge; });
  return dilate(black, 1);
}

void find_colour(Glass& glass, const RgbView& picture, const LocalStatistics& log_intensity) {
  const std::vector<std::uint8_t>& valid = glass.valid;
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
    if (static_cast<std::int64_t>(saturated.size()) >= enough) {
      glass.rgb = {255, 255, 255};
      glass.found = true;
    }
    return;
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
}

}  // namespace

int radius_px(double micrometres, double mpp) { return std::max(1, static_cast<int>(std::lround(micrometres / mpp))); }

Glass find_glass(const RgbView& picture, double mpp) {
  if (picture.size.empty() || static_cast<std::int64_t>(picture.rgb.size()) != picture.size.area() * 3 || !(mpp > 0)) {
    throw std::invalid_argument("find_glass: the picture does not fit its size, or mpp is not positive");
  }
  Glass glass;
  glass.rgb.fill(kAssumedWhite);
  glass.black = black_border(picture);
  glass.valid.resize(picture.count());
  std::vector<float> log_intensity(picture.count());
  std::array<float, 256> log_of{};
  for (std::size_t level = 0; level < log_of.size(); ++level) log_of[level] = std::log10(static_cast<float>(level + 1));
  for (std::size_t i = 0; i < picture.count(); ++i) {
    glass.valid[i] = !glass.black.pixels[i];
    log_intensity[i] = log_of[static_cast<std::size_t>(luminance(picture.at(i)))];
  }
  find_colour(glass, picture,
              local_statistics(log_intensity, glass.valid, picture.size, radius_px(kGlassTextureRadius, mpp)));
  return glass;
}

DensityTable density_table(const std::array<double, 3>& glass_rgb) {
  DensityTable density;
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t level = 0; level < 256; ++level) {
      const double ratio = (glass_rgb[c] + 1) / (static_cast<double>(level) + 1);
      density[c][level] = static_cast<float>(std::max(0.0, std::log10(ratio)) / 3);
    }
  }
  return density;
}

}  // namespace vtissue::stages
