#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vtissue::io {

/// JPEG streams, YCbCr without subsampling (4:4:4), baseline with the standard Huffman tables, so that
/// all tiles of a quality share their tables (formats.md 2.4). Pure functions, thread-safe. Throw
/// std::invalid_argument unless 1 <= quality <= 100 and rgb has width * height * 3 bytes, and Error
/// kOutput if libjpeg refuses (sides over 65,500 px).

/// The tables alone: the content of TIFF's JPEGTables.
std::vector<std::byte> jpeg_tables(int quality);

/// A stream without tables, as TIFF's tiles are where JPEGTables is given.
std::vector<std::byte> encode_jpeg_tile(std::span<const std::uint8_t> rgb, int width, int height, int quality);

/// A whole JPEG file.
std::vector<std::byte> encode_jpeg_file(std::span<const std::uint8_t> rgb, int width, int height, int quality);

}  // namespace vtissue::io
