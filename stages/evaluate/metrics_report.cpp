#include "stages/evaluate/metrics_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "core/error.h"
#include "models/metrics.h"

namespace vtissue::stages {
namespace {

constexpr std::size_t kFewTiles = 500;

/// Every second row, so that both halves come from all over the slide.
std::vector<float> half(const std::vector<float>& rows, int dim, std::size_t parity, std::size_t count) {
  std::vector<float> out;
  for (std::size_t i = 0; i < count; ++i) {
    const auto row = rows.begin() + static_cast<std::ptrdiff_t>((2 * i + parity) * static_cast<std::size_t>(dim));
    out.insert(out.end(), row, row + dim);
  }
  return out;
}

using Distance = std::function<double(const models::FeatureSet&, const models::FeatureSet&, models::Device&)>;

/// The distance of all tiles, and at half the number with the real-vs-real floor beside it: both distances
/// depend on the number, so that only figures for equal numbers compare.
nlohmann::json distances(const TileComparisons& tiles, std::size_t n, models::Device& device,
                         const Distance& distance) {
  nlohmann::json result = {{"real_vs_virtual", nullptr},
                           {"n_each", n},
                           {"half_real_vs_real", nullptr},
                           {"half_real_vs_virtual", nullptr},
                           {"n_each_half", n / 2}};
  const auto set = [&](const std::vector<float>& values) {
    return models::FeatureSet{values, static_cast<int>(values.size() / static_cast<std::size_t>(tiles.dim)), tiles.dim};
  };
  if (n >= 2) result["real_vs_virtual"] = distance(set(tiles.real), set(tiles.made), device);
  if (n >= 4) {
    const std::vector<float> first = half(tiles.real, tiles.dim, 0, n / 2);
    const std::vector<float> second = half(tiles.real, tiles.dim, 1, n / 2);
    const std::vector<float> made = half(tiles.made, tiles.dim, 1, n / 2);
    result["half_real_vs_real"] = distance(set(first), set(second), device);
    result["half_real_vs_virtual"] = distance(set(first), set(made), device);
  }
  return result;
}

nlohmann::json same_tile(const TileComparisons& tiles, std::size_t n) {
  const auto dim = static_cast<std::size_t>(tiles.dim);
  std::vector<double> cosines;
  std::array<double, 3> shift{};
  double colour = 0, real_energy = 0, made_energy = 0;
  for (std::size_t i = 0; i < n; ++i) {
    cosines.push_back(cosine(std::span(tiles.real).subspan(i * dim, dim), std::span(tiles.made).subspan(i * dim, dim)));
    const TilePixels &real = tiles.real_pixels[i], &made = tiles.made_pixels[i];
    for (std::size_t c = 0; c < 3; ++c) {
      const double difference = made.mean_rgb[c] - real.mean_rgb[c];
      shift[c] += difference / static_cast<double>(n);
      colour += std::abs(difference) / (3 * static_cast<double>(n));
    }
    real_energy += real.gradient_energy;
    made_energy += made.gradient_energy;
  }
  double sum = 0;
  for (const double value : cosines) sum += value;
  std::ranges::sort(cosines);
  nlohmann::json result = {{"mean_cosine", sum / static_cast<double>(n)},
                           {"median_cosine", cosines[n / 2]},
                           {"tenth_percentile_cosine", cosines[n / 10]},
                           {"mean_colour_difference", colour},
                           {"mean_colour_shift_rgb", shift},
                           {"gradient_energy_ratio", nullptr}};
  if (real_energy > 0) result["gradient_energy_ratio"] = made_energy / real_energy;
  return result;
}

}  // namespace

nlohmann::json metrics_report(const TileComparisons& tiles, models::Device& device) {
  const std::size_t n = tiles.real_pixels.size();
  if (n == 0) throw Error(ErrorCode::kBadInput, "no tiles to compare");
  nlohmann::json notes = nlohmann::json::array();
  if (n < 4) {
    notes.push_back(
        fmt::format("{} tiles are too few for distances between sets; only the figures of the same tile count", n));
  } else if (n <= static_cast<std::size_t>(tiles.dim)) {
    notes.push_back(
        fmt::format("{} tiles for {} dimensions: the Fréchet distance is dominated by the number of tiles; compare "
                    "it only with the floor of the same number (half_*), or look at the kernel distance",
                    n, tiles.dim));
  } else if (n < kFewTiles) {
    notes.push_back(
        fmt::format("{} tiles are few: the distances depend on the number; compare only figures for equal numbers", n));
  }
  return {{"format", 1},
          {"tiles", {{"compared", n}}},
          {"frechet_distance", distances(tiles, n, device, models::frechet_distance)},
          {"kernel_distance", distances(tiles, n, device, models::kernel_distance)},
          {"same_tile", same_tile(tiles, n)},
          {"notes", notes}};
}

}  // namespace vtissue::stages
