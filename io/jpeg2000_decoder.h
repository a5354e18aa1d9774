#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "io/jpeg_decoder.h"

namespace vtissue::io {

/// A JPEG 2000 codestream of a TIFF tile to RGB8: three components of 8 bit; with `is_ycbcr` they are YCbCr (Aperio's
/// 33003), chroma of half the width or height repeated. Writes `width` x `height` pixels to `out`, rows `row_bytes`
/// apart. Pure: thread-safe. With anything but kDecoded `message` says why.
TileState decode_jpeg2000(std::span<const std::byte> stream, bool is_ycbcr, int width, int height, std::uint8_t* out,
                          std::int64_t row_bytes, std::string& message);

}  // namespace vtissue::io
