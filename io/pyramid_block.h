#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/pyramid_writer.h"

namespace vtissue::io {

/// The pieces that encode_block() and write_pyramid() share.

/// Pixels in the pyramid's codec: a JPEG stream without tables, or a zlib stream.
std::vector<std::byte> encode_pixels(PyramidCodec codec, int jpeg_quality, std::span<const std::uint8_t> rgb, int width,
                                     int height);

/// Tile (tx, ty) of an image; beyond the image its border is repeated, since a black rim would ring
/// into visible pixels.
std::vector<std::byte> encode_tile(const PyramidOptions& options, const RgbImage& image, std::int64_t tx,
                                   std::int64_t ty);

/// Mean of 2 x 2 pixels, rounded: (a + b + c + d + 2) / 4 (formats.md 2.6). Both sides are even.
RgbImage halved(const RgbImage& image);

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
