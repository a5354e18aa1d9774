#include "io/jpeg_tile.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <jpeglib.h>

#include "core/error.h"

namespace vtissue::io {
namespace {

enum class Stream { kTables, kTile, kFile };

struct ErrorState {
  jpeg_error_mgr manager;
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void escape(j_common_ptr info) {
  auto* const state = reinterpret_cast<ErrorState*>(info->err);
  info->err->format_message(info, state->message);
  std::longjmp(state->escape, 1);
}

void ignore_message(j_common_ptr) {}

/// What tables and tiles must agree on.
void configure(jpeg_compress_struct& jpeg, int width, int height, int quality) {
  jpeg.image_width = static_cast<JDIMENSION>(width);
  jpeg.image_height = static_cast<JDIMENSION>(height);
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_colorspace(&jpeg, JCS_YCbCr);
  jpeg_set_quality(&jpeg, quality, TRUE);
  for (int component = 0; component < 3; ++component) {
    jpeg.comp_info[component].h_samp_factor = 1;
    jpeg.comp_info[component].v_samp_factor = 1;
  }
  jpeg.dct_method = JDCT_ISLOW;
  jpeg.optimize_coding = FALSE;
  jpeg.write_Adobe_marker = FALSE;
}

/// libjpeg leaves by longjmp: nothing with a destructor lives in this frame. Returns false on error;
/// *buffer is malloc'd either way or null.
bool compress(Stream stream, const std::uint8_t* rgb, int width, int height, int quality, ErrorState* errors,
              unsigned char** buffer, unsigned long* bytes) {
  jpeg_compress_struct jpeg;
  jpeg.err = jpeg_std_error(&errors->manager);
  errors->manager.error_exit = escape;
  errors->manager.output_message = ignore_message;
  if (setjmp(errors->escape) != 0) {
    jpeg_destroy_compress(&jpeg);
    return false;
  }
  jpeg_create_compress(&jpeg);
  jpeg_mem_dest(&jpeg, buffer, bytes);
  configure(jpeg, width, height, quality);
  jpeg.write_JFIF_header = stream == Stream::kFile ? TRUE : FALSE;
  if (stream == Stream::kTables) {
    jpeg_write_tables(&jpeg);
  } else {
    jpeg_suppress_tables(&jpeg, stream == Stream::kTile ? TRUE : FALSE);
    jpeg_start_compress(&jpeg, stream == Stream::kTile ? FALSE : TRUE);
    while (jpeg.next_scanline < jpeg.image_height) {
      // libjpeg's interface is older than const; it does not write to its input.
      JSAMPROW row = const_cast<JSAMPROW>(rgb + std::size_t{jpeg.next_scanline} * static_cast<std::size_t>(width) * 3);
      jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
  }
  jpeg_destroy_compress(&jpeg);
  return true;
}

std::vector<std::byte> encode(Stream stream, std::span<const std::uint8_t> rgb, int width, int height, int quality) {
  if (quality < 1 || quality > 100) throw std::invalid_argument("JPEG quality must be 1 to 100");
  if (width < 1 || height < 1 ||
      (stream != Stream::kTables &&
       rgb.size() != static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3)) {
    throw std::invalid_argument("JPEG: pixels do not fit the size");
  }
  ErrorState errors;
  unsigned char* buffer = nullptr;
  unsigned long bytes = 0;
  const bool done = compress(stream, rgb.data(), width, height, quality, &errors, &buffer, &bytes);
  const auto* const begin = reinterpret_cast<const std::byte*>(buffer);
  std::vector<std::byte> encoded;
  if (done) encoded.assign(begin, begin + bytes);
  std::free(buffer);
  if (!done) throw Error(ErrorCode::kOutput, "JPEG of {} x {} px: {}", width, height, errors.message);
  return encoded;
}

}  // namespace

std::vector<std::byte> jpeg_tables(int quality) { return encode(Stream::kTables, {}, 16, 16, quality); }

std::vector<std::byte> encode_jpeg_tile(std::span<const std::uint8_t> rgb, int width, int height, int quality) {
  return encode(Stream::kTile, rgb, width, height, quality);
}

std::vector<std::byte> encode_jpeg_file(std::span<const std::uint8_t> rgb, int width, int height, int quality) {
  return encode(Stream::kFile, rgb, width, height, quality);
}

}  // namespace vtissue::io
