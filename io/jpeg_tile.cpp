#include "io/jpeg_tile.h"

#include <csetjmp>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

#include <jpeglib.h>
// after jpeglib.h
#include <jerror.h>

#include "core/error.h"

namespace vtissue::io {
namespace {

enum class Stream { kTables, kTile, kFile };

struct ErrorState {
  jpeg_error_mgr manager;
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
};

/// Where a stream goes. Not jpeg_mem_dest(): after an error that one leaves its caller with a pointer to a buffer it
/// may have freed already.
struct Destination {
  jpeg_destination_mgr manager;  // first: libjpeg hands it back as this
  std::vector<std::byte>* out;
};

/// An exception must not cross libjpeg.
bool resize(std::vector<std::byte>& bytes, std::size_t size) noexcept {
  try {
    bytes.resize(size);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

/// Makes room for `more` bytes behind the `used` ones.
void make_room(j_compress_ptr jpeg, std::size_t used, std::size_t more) {
  auto* const destination = reinterpret_cast<Destination*>(jpeg->dest);
  if (!resize(*destination->out, used + more)) ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
  destination->manager.next_output_byte = reinterpret_cast<JOCTET*>(destination->out->data() + used);
  destination->manager.free_in_buffer = more;
}

void begin_stream(j_compress_ptr jpeg) { make_room(jpeg, 0, 1 << 14); }

boolean grow_stream(j_compress_ptr jpeg) {
  const std::size_t used = reinterpret_cast<Destination*>(jpeg->dest)->out->size();
  make_room(jpeg, used, used);
  return TRUE;
}

void end_stream(j_compress_ptr jpeg) {
  auto* const destination = reinterpret_cast<Destination*>(jpeg->dest);
  destination->out->resize(destination->out->size() - destination->manager.free_in_buffer);
}

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

/// libjpeg leaves by longjmp: nothing with a destructor lives in this frame. Returns false on error; `out` then holds
/// nothing of use.
bool compress(Stream stream, const std::uint8_t* rgb, int width, int height, int quality, ErrorState* errors,
              std::vector<std::byte>* out) {
  jpeg_compress_struct jpeg;
  Destination destination{{}, out};
  destination.manager.init_destination = begin_stream;
  destination.manager.empty_output_buffer = grow_stream;
  destination.manager.term_destination = end_stream;
  jpeg.err = jpeg_std_error(&errors->manager);
  errors->manager.error_exit = escape;
  errors->manager.output_message = ignore_message;
  if (setjmp(errors->escape) != 0) {
    jpeg_destroy_compress(&jpeg);
    return false;
  }
  jpeg_create_compress(&jpeg);
  jpeg.dest = &destination.manager;
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
  std::vector<std::byte> encoded;
  if (!compress(stream, rgb.data(), width, height, quality, &errors, &encoded)) {
    throw Error(ErrorCode::kOutput, "JPEG of {} x {} px: {}", width, height, errors.message);
  }
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
