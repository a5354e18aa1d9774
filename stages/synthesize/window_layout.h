#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/units.h"

namespace vtissue::stages {

/// How the denoiser's windows lie on the slide's latents (DESIGN 6).
enum class SynthesisMode {
  kShifted,     ///< in every step side by side, at another offset; the last steps overlap and are blended
  kOverlap,     ///< at half a window's stride in every step, blended
  kIndependent  ///< each tile alone
};

std::string_view to_string(SynthesisMode mode);
/// "shifted", "overlap", "independent". Throws Error kUsage.
SynthesisMode parse_synthesis_mode(std::string_view name);

struct WindowOptions {
  SynthesisMode mode = SynthesisMode::kShifted;
  std::uint64_t seed = 0;  ///< of the offsets
  int steps = 20;
  int blended_steps = 2;  ///< shifted: so many last steps overlap
  int grain = 2;          ///< offsets are multiples of it: the side of the denoiser's patch, latents
};

/// Where the windows of each step lie: a pure function of the tiles and the options. A window is a square of `size`
/// latents; the windows of a step are those of one lattice that meet tissue, so that every latent of a tile is in one
/// of them, or where they are blended in four. Thread-safe.
class WindowLayout {
 public:
  /// `cells`: tiles of the base grid, sorted; they must outlive the layout. Throws Error kUsage for tiles between them
  /// (odd cells) unless the mode is kIndependent, and for a size that is not a multiple of twice the grain.
  WindowLayout(std::span<const TileCell> cells, int size, const WindowOptions& options);

  int size() const { return size_; }
  /// Whether the windows of a step overlap, by half their side both ways, and their predictions are blended.
  bool blended(int step) const;
  /// A point of the step's lattice, 0 <= x, y < size().
  Point<Latent> offset(int step) const;
  /// Upper left corners by row, then column. May be negative.
  std::vector<Point<Latent>> windows(int step) const;
  /// Of those the ones that meet a tile, whose first latent is `tile`.
  std::vector<Point<Latent>> windows_over(Point<Latent> tile, int step) const;

 private:
  std::span<const TileCell> cells_;
  int size_;
  WindowOptions options_;
};

/// A tile's place on the latents.
inline Point<Latent> latent_origin(TileCell cell, int size) {
  return {std::int64_t{cell.column} * size / 2, std::int64_t{cell.row} * size / 2};
}

/// A window's weight at (column, row) of itself when it is blended: a tent in both axes, > 0; the weights of windows at
/// half a side's stride add up to 1.
std::vector<float> tent_weights(int size);

}  // namespace vtissue::stages
