#include "stages/evaluate/metrics_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "core/error.h"
#include "models/metrics.h"
#include "models/set_metrics.h"

namespace vtissue::stages {
namespace {

constexpr std::size_t kFewTiles = 500;

constexpr int kComponents = 32;
constexpr int kNeighbours = 5;
constexpr int kResamples = 200;
constexpr std::uint64_t kResampleSeed = 1;

/// Embeddings of real and virtual tiles of the same places.
struct Embeddings {
  std::vector<float> real, made;
  int dim = 0;

  int n() const { return static_cast<int>(real.size() / static_cast<std::size_t>(dim)); }
  models::FeatureSet set(const std::vector<float>& values) const {
    return {values, static_cast<int>(values.size() / static_cast<std::size_t>(dim)), dim};
  }
};

/// Every second row, so that both halves come from all over the slide.
std::vector<float> half(const std::vector<float>& rows, int dim, int parity, int count) {
  std::vector<float> out;
  for (int i = 0; i < count; ++i) {
    const auto row = rows.begin() + static_cast<std::ptrdiff_t>(2 * i + parity) * dim;
    out.insert(out.end(), row, row + dim);
  }
  return out;
}

/// The real tiles, and of the other half of the places the real and the virtual ones: what the virtual tiles are held
/// against is real tiles of the same number.
struct Halves {
  std::vector<float> first, second, made;

  explicit Halves(const Embeddings& all)
      : first(half(all.real, all.dim, 0, all.n() / 2)),
        second(half(all.real, all.dim, 1, all.n() / 2)),
        made(half(all.made, all.dim, 1, all.n() / 2)) {}
};

using Distance = std::function<double(const models::FeatureSet&, const models::FeatureSet&, models::Device&)>;
using Resampled =
    std::function<std::vector<double>(const models::FeatureSet&, const models::FeatureSet&, const models::Resamples&,
                                      const models::Resamples&, models::Device&)>;

nlohmann::json interval(std::vector<double> values) {
  // A resample of one place alone has no distance.
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  if (values.empty()) return nullptr;
  const auto [low, high] = models::central_interval(std::move(values));
  return {low, high};
}

/// The distance of all tiles, and at half the number with the real-vs-real floor beside it: both distances
/// depend on the number, so that only figures for equal numbers compare.
nlohmann::json distances(const Embeddings& all, models::Device& device, const Distance& distance) {
  nlohmann::json result = {{"real_vs_virtual", nullptr},
                           {"n_each", all.n()},
                           {"half_real_vs_real", nullptr},
                           {"half_real_vs_virtual", nullptr},
                           {"n_each_half", all.n() / 2}};
  if (all.n() >= 2) result["real_vs_virtual"] = distance(all.set(all.real), all.set(all.made), device);
  if (all.n() >= 4) {
    const Halves halves(all);
    result["half_real_vs_real"] = distance(all.set(halves.first), all.set(halves.second), device);
    result["half_real_vs_virtual"] = distance(all.set(halves.first), all.set(halves.made), device);
  }
  return result;
}

/// Adds 95 % intervals over bootstrap resamples of the tiles' places, and what the virtual tiles have above the floor:
/// the two of a resample share its places, so that much of their scatter cancels.
void add_intervals(nlohmann::json& result, const Embeddings& all, models::Device& device, const Resampled& resampled,
                   bool of_all) {
  result["excess"] = {{"value", nullptr}, {"interval", nullptr}};
  if (of_all) result["real_vs_virtual_interval"] = nullptr;
  if (all.n() < 4) return;
  if (of_all) {
    const auto places = models::Resamples::draw(all.n(), kResamples, kResampleSeed);
    result["real_vs_virtual_interval"] =
        interval(resampled(all.set(all.real), all.set(all.made), places, places, device));
  }
  const Halves halves(all);
  const auto first = models::Resamples::draw(all.n() / 2, kResamples, kResampleSeed + 1);
  const auto second = models::Resamples::draw(all.n() / 2, kResamples, kResampleSeed + 2);
  std::vector<double> excess = resampled(all.set(halves.first), all.set(halves.made), first, second, device);
  const std::vector<double> floor = resampled(all.set(halves.first), all.set(halves.second), first, second, device);
  for (std::size_t i = 0; i < excess.size(); ++i) excess[i] -= floor[i];
  result["excess"] = {
      {"value", result["half_real_vs_virtual"].get<double>() - result["half_real_vs_real"].get<double>()},
      {"interval", interval(std::move(excess))}};
}

/// Where the real tiles vary most, few tiles are enough: the same distances in a space of few dimensions.
nlohmann::json leading_components(const Embeddings& all, models::Device& device) {
  const int count = std::min({kComponents, all.dim, all.n() / 8});
  if (count < 1) return nullptr;
  const auto components = models::LeadingComponents::fit(all.set(all.real), count, device);
  const Embeddings projected{components.project(all.set(all.real), device),
                             components.project(all.set(all.made), device), count};
  nlohmann::json frechet = distances(projected, device, models::frechet_distance);
  // Of resamples of both sides the distance is larger than of the sets, so that its interval alone would mislead.
  add_intervals(frechet, projected, device, models::frechet_distances, false);
  nlohmann::json kernel = distances(projected, device, models::kernel_distance);
  add_intervals(kernel, projected, device, models::kernel_distances, true);
  return {{"count", count},
          {"share_of_variance", components.share_of_variance()},
          {"frechet_distance", frechet},
          {"kernel_distance", kernel}};
}

nlohmann::json overlap_of(const models::FeatureSet& real, const models::FeatureSet& made, models::Device& device) {
  const models::SetOverlap overlap = models::set_overlap(real, made, kNeighbours, device);
  return {{"precision", overlap.precision},
          {"recall", overlap.recall},
          {"density", overlap.density},
          {"coverage", overlap.coverage}};
}

nlohmann::json overlap(const Embeddings& all, models::Device& device) {
  nlohmann::json result = {{"neighbours", kNeighbours},
                           {"real_vs_virtual", nullptr},
                           {"half_real_vs_real", nullptr},
                           {"half_real_vs_virtual", nullptr}};
  if (all.n() > kNeighbours) result["real_vs_virtual"] = overlap_of(all.set(all.real), all.set(all.made), device);
  if (all.n() / 2 > kNeighbours) {
    const Halves halves(all);
    result["half_real_vs_real"] = overlap_of(all.set(halves.first), all.set(halves.second), device);
    result["half_real_vs_virtual"] = overlap_of(all.set(halves.first), all.set(halves.made), device);
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
  const Embeddings all{tiles.real, tiles.made, tiles.dim};
  nlohmann::json kernel = distances(all, device, models::kernel_distance);
  add_intervals(kernel, all, device, models::kernel_distances, true);
  return {{"format", 1},
          {"tiles", {{"compared", n}}},
          {"frechet_distance", distances(all, device, models::frechet_distance)},
          {"kernel_distance", kernel},
          {"leading_components", leading_components(all, device)},
          {"overlap", overlap(all, device)},
          {"same_tile", same_tile(tiles, n)},
          {"notes", notes}};
}

}  // namespace vtissue::stages
