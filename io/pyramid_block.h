#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/pyramid_writer.h"

namespace vtissue::io {

/// encode_block()'s result taken apart; tiles point into `bytes`.
struct BlockPart {
  struct Level {
    std::int64_t tiles_x = 0, tiles_y = 0;
    std::vector<std::span<const std::byte>> tiles;  ///< row-major
  };
  std::vector<Level> levels;
  RgbImage last;  ///< the block's pixels, undrawn, of its last level
};

/// Throws Error kOutput if the bytes are not a part of this pyramid's block (bx, by).
BlockPart parse_block(const PyramidOptions& options, int bx, int by, std::span<const std::byte> bytes);

}  // namespace vtissue::io
