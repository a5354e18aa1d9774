#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/units.h"
#include "io/tile_store.h"

namespace vtissue::stages {

/// Whether a picture shows the grid it was made on (DESIGN 6). All are ratios of which a picture without a grid has
/// about 1; nothing where there was too little tissue to tell.
struct SeamScores {
  /// Mean step of the luminance across the lines between tiles and through their middles, of both axes the worst, by
  /// the median over all other multiples of 8 px.
  std::optional<double> lines;
  /// The same at whichever multiple of 8 px is worst.
  std::optional<double> worst_phase;
  /// Root mean square of the colour steps between neighbouring tiles (strips of an eighth of a tile on both sides of
  /// the line), by that across lines a quarter of a tile off: a shift of colour without an edge.
  std::optional<double> colour_step;
  double gradient_energy = 0;  ///< mean squared step of the luminance from pixel to pixel, both axes, levels²
  std::int64_t pixels = 0;     ///< of tissue that was looked at
};

/// Adds up over boxes of a slide at the tiles' µm/px. A line is looked at where there is tissue on both sides of it.
class SeamMetric {
 public:
  explicit SeamMetric(const io::TileSet& tiles);

  /// `rgb` [height, width, 3], the box's pixels.
  void add(Box<TargetPx> box, std::span<const std::uint8_t> rgb);
  SeamScores scores() const;

 private:
  struct Mean {
    double sum = 0;
    std::int64_t count = 0;
    void add(double value) { sum += value, ++count; }
    std::optional<double> value() const {
      return count > 0 ? std::optional(sum / static_cast<double>(count)) : std::nullopt;
    }
  };
  template <typename Luminance, typename Tissue>
  void add_lines(std::size_t axis, Box<TargetPx> box, const Luminance& luminance, const Tissue& tissue);
  void add_colours(std::size_t axis, Box<TargetPx> box, std::span<const std::uint8_t> rgb);
  bool is_tile(std::int64_t column, std::int64_t row) const;

  const io::TileSet& tiles_;
  std::array<std::vector<Mean>, 2> phases_;  ///< by axis: lines across x, across y; [tile_px / 8]
  std::array<Mean, 2> steps_, other_steps_;  ///< squared colour steps at the tiles' lines and off them
  Mean energy_;
};

}  // namespace vtissue::stages
