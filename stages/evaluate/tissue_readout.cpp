#include "stages/evaluate/tissue_readout.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "models/metrics.h"
#include "stages/evaluate/nuclei.h"
#include "stages/evaluate/stains.h"
#include "stages/tile/otsu.h"

namespace vtissue::stages {
namespace {

constexpr double kLeastThreshold = 0.1;
constexpr double kSmallestUm2 = 8;
constexpr double kStepsAnOctave = 4;
constexpr double kElongationStep = 0.2;

std::size_t bin(double position, std::size_t bins) {
  return static_cast<std::size_t>(std::clamp(position, 0.0, static_cast<double>(bins - 1)));
}

double mean(std::span<const float> values) {
  return values.empty() ? 0 : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Mean per real and per virtual tile, and their correlation over the places.
template <typename Value>
nlohmann::json per_tile(std::span<const TileReadout> real, std::span<const TileReadout> made, Value value) {
  std::vector<double> a, b;
  for (const TileReadout& tile : real) a.push_back(value(tile));
  for (const TileReadout& tile : made) b.push_back(value(tile));
  nlohmann::json result = {{"real", std::accumulate(a.begin(), a.end(), 0.0) / static_cast<double>(a.size())},
                           {"virtual", std::accumulate(b.begin(), b.end(), 0.0) / static_cast<double>(b.size())},
                           {"pearson", nullptr}};
  if (a.size() >= 3) result["pearson"] = models::pearson_by_column(a, b, 1)[0];
  return result;
}

/// Share of two histograms' nuclei that both have: 1 for one distribution, 0 for two that do not meet.
template <std::size_t N>
nlohmann::json common_share(std::span<const TileReadout> real, std::span<const TileReadout> made,
                            const std::array<float, N> TileReadout::*histogram) {
  std::array<double, N> a{}, b{};
  for (std::size_t i = 0; i < N; ++i) {
    for (const TileReadout& tile : real) a[i] += (tile.*histogram)[i];
    for (const TileReadout& tile : made) b[i] += (tile.*histogram)[i];
  }
  const double all_a = std::accumulate(a.begin(), a.end(), 0.0), all_b = std::accumulate(b.begin(), b.end(), 0.0);
  if (all_a == 0 || all_b == 0) return nullptr;
  double common = 0;
  for (std::size_t i = 0; i < N; ++i) common += std::min(a[i] / all_a, b[i] / all_b);
  return common;
}

}  // namespace

void TileReadout::append_to(std::vector<float>& values) const {
  values.insert(values.end(), {haematoxylin, eosin, nuclei});
  values.insert(values.end(), areas.begin(), areas.end());
  values.insert(values.end(), elongations.begin(), elongations.end());
}

TileReadout TileReadout::from(std::span<const float> values) {
  if (values.size() != kValues) throw std::invalid_argument("a tile's readout has another number of values");
  TileReadout readout{values[0], values[1], values[2], {}, {}};
  std::copy_n(values.begin() + 3, kAreas, readout.areas.begin());
  std::copy_n(values.begin() + 3 + kAreas, kElongations, readout.elongations.begin());
  return readout;
}

TissueReader::TissueReader(double mpp, int side, std::span<const std::vector<std::uint8_t>> samples)
    : mpp_(mpp), side_(side) {
  constexpr double kWidth = 2.0 / 256;
  std::array<std::int64_t, 256> histogram{};
  for (const std::vector<std::uint8_t>& rgb : samples) {
    for (const float density : smooth_haematoxylin(separate_stains(rgb).haematoxylin, side, mpp)) {
      ++histogram[bin(density / kWidth, histogram.size())];
    }
  }
  threshold_ = std::max(kLeastThreshold, static_cast<double>(otsu_bin(histogram) + 1) * kWidth);
}

TileReadout TissueReader::read(std::span<const std::uint8_t> rgb) const {
  const StainDensities stains = separate_stains(rgb);
  TileReadout readout;
  readout.haematoxylin = static_cast<float>(mean(stains.haematoxylin));
  readout.eosin = static_cast<float>(mean(stains.eosin));
  for (const Nucleus& nucleus :
       find_nuclei(smooth_haematoxylin(stains.haematoxylin, side_, mpp_), side_, mpp_, threshold_)) {
    readout.nuclei += 1;
    readout.areas[bin(kStepsAnOctave * std::log2(nucleus.area_um2 / kSmallestUm2), TileReadout::kAreas)] += 1;
    readout.elongations[bin((nucleus.elongation - 1) / kElongationStep, TileReadout::kElongations)] += 1;
  }
  return readout;
}

nlohmann::json readout_report(std::span<const TileReadout> real, std::span<const TileReadout> made, double threshold) {
  return {
      {"haematoxylin_threshold", threshold},
      {"nuclei_per_tile", per_tile(real, made, [](const TileReadout& tile) { return double{tile.nuclei}; })},
      {"nuclear_area_overlap", common_share(real, made, &TileReadout::areas)},
      {"nuclear_elongation_overlap", common_share(real, made, &TileReadout::elongations)},
      {"haematoxylin_density", per_tile(real, made, [](const TileReadout& tile) { return double{tile.haematoxylin}; })},
      {"eosin_density", per_tile(real, made, [](const TileReadout& tile) { return double{tile.eosin}; })}};
}

}  // namespace vtissue::stages
