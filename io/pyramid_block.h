#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/pyramid_writer.h"
#include "io/tile_encoder.h"

namespace vtissue::io {

/// encode_block() of many blocks of a pyramid, with memory that is used again. One thread at a time.
class BlockEncoder {
 public:
  /// `options` must outlive it.
  explicit BlockEncoder(const PyramidOptions& options);

  std::vector<std::byte> encode(int bx, int by, const PixelRows& pixels, const LevelDecorator& decorate);

 private:
  void encode_level(const PixelRows& pixels, const PixelRows& undrawn, RgbImage* half, std::vector<std::byte>& part);

  const PyramidOptions& options_;
  PyramidLayout layout_;
  TileEncoder encoder_;
  RgbImage padded_, drawn_;
  RgbImage halves_[2];  // levels in turn
  std::size_t head_ = 0;
  std::size_t usual_bytes_ = 0;
};

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
