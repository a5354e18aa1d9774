#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace vtissue::viewer {

/// A TIFF tile's JPEG stream as a whole file that a browser shows in the right colours, without decoding it: the tables
/// of JPEGTables are put in, application data and comments are left out, and an Adobe segment says whether the
/// components are YCbCr (scanners write RGB streams without saying so). Nothing if the stream is not whole (it does not
/// end as it should), or is no picture of `width` x `height` pixels and three components of 8 bits, Huffman-coded.
/// Pure: thread-safe.
std::optional<std::string> browser_jpeg(std::span<const std::byte> tables, std::span<const std::byte> stream,
                                        bool is_ycbcr, int width, int height);

}  // namespace vtissue::viewer
