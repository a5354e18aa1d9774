#include "io/tile_encoder.h"

#include <algorithm>

#include "io/jpeg2000_tile.h"
#include "io/tiff_codec.h"
#include "io/tiff_tags.h"

namespace vtissue::io {

TileEncoder::TileEncoder(const PyramidOptions& options) : TileEncoder(options.codec, options) {}

TileEncoder::TileEncoder(PyramidCodec codec, const PyramidOptions& options) : codec_(codec), quality_(options.quality) {
  if (codec == PyramidCodec::kJpeg) jpeg_.emplace(jpeg_settings_of(options));
}

std::span<const std::byte> TileEncoder::encode(const PixelRows& pixels) {
  switch (codec_) {
    case PyramidCodec::kJpeg:
      return jpeg_->encode(JpegEncoder::Stream::kTile, pixels);
    case PyramidCodec::kJpeg2000:
      return stream_ = encode_jpeg2000(pixels, quality_);
    case PyramidCodec::kLzw:
      return stream_ = encode_tiff_lossless(pixels, kTiffLzw);
    case PyramidCodec::kDeflate:
      return stream_ = encode_tiff_lossless(pixels, kTiffDeflate);
    case PyramidCodec::kZstd:
      break;
  }
  return stream_ = encode_tiff_lossless(pixels, kTiffZstd);
}

std::span<const std::byte> TileEncoder::encode_tile(const PixelRows& image, std::int64_t x, std::int64_t y,
                                                    int tile_px) {
  const std::int64_t columns = std::min<std::int64_t>(tile_px, image.width - x);
  const std::int64_t rows = std::min<std::int64_t>(tile_px, image.height - y);
  if (columns == tile_px && rows == tile_px) return encode(image.box(x, y, tile_px, tile_px));
  const std::int64_t row_bytes = std::int64_t{tile_px} * 3;
  padded_.resize(static_cast<std::size_t>(row_bytes * tile_px));
  for (std::int64_t row = 0; row < tile_px; ++row) {
    std::uint8_t* const out = padded_.data() + row * row_bytes;
    std::copy_n(image.at(x, y + std::min(row, rows - 1)), columns * 3, out);
    for (std::int64_t column = columns; column < tile_px; ++column)
      std::copy_n(out + (columns - 1) * 3, 3, out + column * 3);
  }
  return encode({padded_.data(), tile_px, tile_px, row_bytes});
}

}  // namespace vtissue::io
