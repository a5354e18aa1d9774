#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "core/units.h"

namespace vtissue::stages {

/// Latents of a slide's tiles, and nothing between them: `planes` values [channels, size, size] a tile (the state, the
/// solver's history), in two slots, of which a step reads one and writes the other. Squares of one tile's size are read
/// and written at any place. Kept in memory, or mapped from a file without a name where that is asked for. Thread-safe
/// as long as no two threads touch the same latent of a slot and one of them writes.
class TissueCanvas {
 public:
  /// `cells`: tiles of the base grid, sorted; they must outlive the canvas. `folder`: where the file is made that is
  /// mapped; empty: memory. All zero at first. Throws Error kOutput: no room, not writable.
  TissueCanvas(std::span<const TileCell> cells, int size, int channels, int planes,
               const std::filesystem::path& folder = {});
  ~TissueCanvas();
  TissueCanvas(const TissueCanvas&) = delete;
  TissueCanvas& operator=(const TissueCanvas&) = delete;

  static std::size_t bytes(std::size_t tiles, int size, int channels, int planes);

  /// Puts the tiles' latents into `out` [channels, size, size], the square at `origin`; what is no tile's stays as it
  /// is.
  void read(int slot, int plane, Point<Latent> origin, std::span<float> out) const;
  /// The reverse: values of the square that are no tile's are dropped.
  void write(int slot, int plane, Point<Latent> origin, std::span<const float> values);

  /// Whether all latents of the square at `origin` are tiles'.
  bool covers(Point<Latent> origin) const;

  /// A tile under a square, by its index in `cells`, and the latents they share: [x0, x1) x [y0, y1) of the square.
  struct Overlap {
    std::size_t tile;
    int x0, y0, x1, y1;
    int area() const { return (x1 - x0) * (y1 - y0); }
  };
  /// Up to four, by row, then column.
  std::vector<Overlap> overlaps(Point<Latent> origin) const;

 private:
  std::size_t offset(int slot, int plane, std::size_t tile) const;
  template <typename Copy>
  void for_rows(int slot, int plane, Point<Latent> origin, Copy&& copy) const;

  std::span<const TileCell> cells_;
  int size_, channels_, planes_;
  std::size_t bytes_ = 0;
  float* values_ = nullptr;
};

}  // namespace vtissue::stages
