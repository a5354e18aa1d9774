#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

namespace vtissue::stages {

/// What a pathologist would read off a tile, without any network: stain and nuclei.
struct TileReadout {
  static constexpr std::size_t kAreas = 20;        ///< steps of a quarter octave from 8 µm² on
  static constexpr std::size_t kElongations = 10;  ///< steps of 0.2 from 1 on; the last one holds what is longer

  float haematoxylin = 0;  ///< mean density over the tile (stains.h)
  float eosin = 0;
  float nuclei = 0;  ///< how many
  std::array<float, kAreas> areas{};
  std::array<float, kElongations> elongations{};

  static constexpr std::size_t kValues = 3 + kAreas + kElongations;
  void append_to(std::vector<float>& values) const;
  /// Of kValues values. Throws std::invalid_argument for another number.
  static TileReadout from(std::span<const float> values);
};

/// Reads tiles of one µm/px off by one threshold of haematoxylin, the same for real and virtual ones: with a threshold
/// of its own a pale virtual slide would seem to have the nuclei that it lacks. Thread-safe.
class TissueReader {
 public:
  /// The threshold is Otsu's over the smoothed haematoxylin of `samples`, RGB [side, side, 3] of the real slide; not
  /// below 0.1, which is no nucleus in any staining.
  TissueReader(double mpp, int side, std::span<const std::vector<std::uint8_t>> samples);
  double threshold() const { return threshold_; }
  TileReadout read(std::span<const std::uint8_t> rgb) const;

 private:
  double mpp_;
  int side_;
  double threshold_ = 0;
};

/// `metrics.json` under "tissue" (docs/stages/evaluate.md): row i of both is the same place. What cannot be said of so
/// few tiles or nuclei is null.
nlohmann::json readout_report(std::span<const TileReadout> real, std::span<const TileReadout> made, double threshold);

}  // namespace vtissue::stages
