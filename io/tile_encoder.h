#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "io/jpeg_tile.h"
#include "io/pixel_rows.h"
#include "io/pyramid_writer.h"

namespace vtissue::io {

/// Pixels in a pyramid's codec. Keeps what can be kept from tile to tile. One thread at a time; the bytes depend on
/// codec, settings and pixels alone.
class TileEncoder {
 public:
  explicit TileEncoder(const PyramidOptions& options);
  /// In another codec than the pyramid's.
  TileEncoder(PyramidCodec codec, const PyramidOptions& options);

  /// The tile's or strip's data, valid until the next call. Throws Error kOutput.
  std::span<const std::byte> encode(const PixelRows& pixels);

  /// A tile whose top-left pixel is (x, y) of `image`. Beyond the image its border is repeated, since a black rim would
  /// ring into visible pixels.
  std::span<const std::byte> encode_tile(const PixelRows& image, std::int64_t x, std::int64_t y, int tile_px);

 private:
  PyramidCodec codec_;
  int quality_;
  std::optional<JpegEncoder> jpeg_;
  std::vector<std::byte> stream_;
  std::vector<std::uint8_t> padded_;
};

}  // namespace vtissue::io
