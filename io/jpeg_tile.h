#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "io/pixel_rows.h"

namespace vtissue::io {

/// How densely colour is stored: at every pixel, or the mean of 2 x 2 pixels.
enum class ChromaSampling { k444, k420 };

enum class JpegColour { kYCbCr, kRgb };

struct JpegSettings {
  int quality = 90;  ///< 1..100
  ChromaSampling sampling = ChromaSampling::k444;
  JpegColour colour = JpegColour::kYCbCr;  ///< kRgb: only with k444; some half larger
};

/// JPEG streams, baseline with the standard Huffman tables, so that all tiles of the same settings share their
/// tables (formats.md 2.4). Keeps libjpeg's state and the buffer from one stream to the next. One thread at a time.
class JpegEncoder {
 public:
  enum class Stream {
    kTile,  ///< without tables, as TIFF's tiles are where JPEGTables is given
    kFile,  ///< a whole JPEG file
  };

  /// Throws std::invalid_argument unless 1 <= quality <= 100, and for RGB with 4:2:0.
  explicit JpegEncoder(JpegSettings settings);
  ~JpegEncoder();
  JpegEncoder(const JpegEncoder&) = delete;
  JpegEncoder& operator=(const JpegEncoder&) = delete;

  /// The stream, valid until the next call. Throws std::invalid_argument for no pixels and Error kOutput if libjpeg
  /// refuses (sides over 65,500 px, no memory).
  std::span<const std::byte> encode(Stream stream, const PixelRows& pixels);
  /// The tables alone: the content of TIFF's JPEGTables. Valid until the next call.
  std::span<const std::byte> tables();

  struct State;  ///< of jpeg_tile.cpp alone

 private:
  std::unique_ptr<State> state_;
};

/// The same as pure functions, thread-safe. Throw std::invalid_argument unless 1 <= quality <= 100 and rgb has
/// width * height * 3 bytes, and Error kOutput if libjpeg refuses.
std::vector<std::byte> jpeg_tables(JpegSettings settings);
std::vector<std::byte> encode_jpeg_tile(std::span<const std::uint8_t> rgb, int width, int height,
                                        JpegSettings settings);
std::vector<std::byte> encode_jpeg_file(std::span<const std::uint8_t> rgb, int width, int height, int quality);

}  // namespace vtissue::io
