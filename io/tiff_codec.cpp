#include "io/tiff_codec.h"

#include <tiffio.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <span>

#include "core/error.h"
#include "io/vips_runtime.h"

namespace vtissue::io {
namespace {

/// A TIFF file in memory: libtiff's codecs have no interface below that of a file.
struct MemoryTiff {
  std::vector<std::byte> bytes;
  std::uint64_t at = 0;
};

tmsize_t read_memory(thandle_t handle, void* out, tmsize_t size) {
  auto& file = *static_cast<MemoryTiff*>(handle);
  const std::uint64_t rest = file.at < file.bytes.size() ? file.bytes.size() - file.at : 0;
  const auto taken = std::min<std::uint64_t>(rest, static_cast<std::uint64_t>(size));
  if (taken > 0) std::memcpy(out, file.bytes.data() + file.at, taken);
  file.at += taken;
  return static_cast<tmsize_t>(taken);
}

tmsize_t write_memory(thandle_t handle, void* data, tmsize_t size) {
  auto& file = *static_cast<MemoryTiff*>(handle);
  try {  // an exception must not cross libtiff
    const std::uint64_t end = file.at + static_cast<std::uint64_t>(size);
    if (end > file.bytes.size()) file.bytes.resize(end);
  } catch (const std::exception&) {
    return 0;
  }
  std::memcpy(file.bytes.data() + file.at, data, static_cast<std::size_t>(size));
  file.at += static_cast<std::uint64_t>(size);
  return size;
}

toff_t seek_memory(thandle_t handle, toff_t offset, int whence) {
  auto& file = *static_cast<MemoryTiff*>(handle);
  const std::uint64_t from = whence == SEEK_CUR ? file.at : whence == SEEK_END ? file.bytes.size() : 0;
  return file.at = from + offset;
}

int close_memory(thandle_t) { return 0; }

toff_t size_of_memory(thandle_t handle) { return static_cast<MemoryTiff*>(handle)->bytes.size(); }

}  // namespace

std::vector<std::byte> encode_tiff_lossless(const PixelRows& pixels, std::uint16_t compression) {
  ensure_image_libraries();
  const auto refuse = [&] {
    throw Error(ErrorCode::kOutput, "libtiff cannot compress {} x {} px with scheme {}; choose another stitch.codec",
                pixels.width, pixels.height, compression);
  };
  MemoryTiff file;
  const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(
      TIFFClientOpen("tile", "wl", &file, read_memory, write_memory, seek_memory, close_memory, size_of_memory, nullptr,
                     nullptr),
      TIFFClose);
  if (tiff == nullptr || TIFFIsCODECConfigured(compression) == 0) refuse();
  TIFF* const t = tiff.get();
  const auto width = static_cast<std::uint32_t>(pixels.width), height = static_cast<std::uint32_t>(pixels.height);
  if (TIFFSetField(t, TIFFTAG_IMAGEWIDTH, width) != 1 || TIFFSetField(t, TIFFTAG_IMAGELENGTH, height) != 1 ||
      TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, height) != 1 || TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, 8) != 1 ||
      TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, 3) != 1 ||
      TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) != 1 ||
      TIFFSetField(t, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB) != 1 ||
      TIFFSetField(t, TIFFTAG_COMPRESSION, compression) != 1 ||
      TIFFSetField(t, TIFFTAG_PREDICTOR, PREDICTOR_HORIZONTAL) != 1) {
    refuse();
  }
  std::vector<std::uint8_t> dense(static_cast<std::size_t>(pixels.width * pixels.height) * 3);
  for (std::int64_t y = 0; y < pixels.height; ++y)
    std::copy_n(pixels.at(0, y), pixels.width * 3, dense.data() + y * pixels.width * 3);
  if (TIFFWriteEncodedStrip(t, 0, dense.data(), static_cast<tmsize_t>(dense.size())) < 0) refuse();
  const std::uint64_t offset = TIFFGetStrileOffset(t, 0), bytes = TIFFGetStrileByteCount(t, 0);
  if (bytes == 0 || offset > file.bytes.size() || bytes > file.bytes.size() - offset) refuse();
  const auto data = std::span<const std::byte>(file.bytes).subspan(offset, bytes);
  return {data.begin(), data.end()};
}

}  // namespace vtissue::io
