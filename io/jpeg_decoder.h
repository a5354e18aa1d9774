#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace vtissue::io {

enum class TileState {
  kDecoded,
  kDamaged,      ///< the stream ends early or makes no sense; pixels would be invented
  kUnsupported,  ///< another size, other components, another process
};

/// JPEG streams of TIFF tiles to RGB8 without a detour. Keeps libjpeg's state from tile to tile. One thread at a time.
class JpegDecoder {
 public:
  JpegDecoder();
  ~JpegDecoder();
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  /// Writes `width` x `height` pixels to `out`, rows `row_bytes` apart. `tables` is TIFF's JPEGTables, or empty. The
  /// colours are what TIFF's PhotometricInterpretation says (`is_ycbcr`), whatever the stream says: scanners write RGB
  /// streams without saying so (formats.md 2.1). With anything but kDecoded the pixels are of no use and `message` says
  /// why.
  TileState decode(std::span<const std::byte> tables, std::span<const std::byte> stream, bool is_ycbcr, int width,
                   int height, std::uint8_t* out, std::int64_t row_bytes, std::string& message);

  struct State;  ///< of jpeg_decoder.cpp alone

 private:
  std::unique_ptr<State> state_;
};

}  // namespace vtissue::io
