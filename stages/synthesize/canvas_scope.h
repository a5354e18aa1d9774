#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/units.h"
#include "models/samplers/sampler.h"
#include "stages/synthesize/window_layout.h"

namespace vtissue::stages {

/// What a CanvasSynthesis computes where not all of the slide is wanted: the squares of each of its passes, in its
/// order (for an evaluation whose windows overlap first the windows, then the tiles).
struct CanvasScope {
  std::vector<std::vector<Point<Latent>>> squares;  ///< by pass: windows by row, then column; tiles in their order
  std::size_t tiles = 0;                            ///< of the slide that are under any of them
};

/// Tiles `wanted` (indices in `cells`, sorted) and nothing else: in each step the windows that meet them. What such a
/// window sees beside them has to be put there after each step (CanvasOptions::after_state). Pure.
CanvasScope confined_scope(const WindowLayout& layout, std::span<const models::Evaluation> evaluations,
                           std::span<const TileCell> cells, std::span<const std::size_t> wanted);

/// All that the tiles `wanted` depend on in any step, so that their state after each step is that of the whole slide,
/// bit for bit: the cone grows by half a window's side a step towards the start. Pure.
CanvasScope dependence_scope(const WindowLayout& layout, std::span<const models::Evaluation> evaluations,
                             std::span<const TileCell> cells, std::span<const std::size_t> wanted);

/// Indices of the tiles that share a latent with the square of a tile's size at `origin`, ascending.
std::vector<std::size_t> tiles_under(std::span<const TileCell> cells, int size, Point<Latent> origin);

/// The tiles of the base grid in the eight places around those of `chosen` (indices, sorted) that are not among them,
/// ascending.
std::vector<std::size_t> ring_around(std::span<const TileCell> cells, std::span<const std::size_t> chosen);

}  // namespace vtissue::stages
