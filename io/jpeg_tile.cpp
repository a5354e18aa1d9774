#include "io/jpeg_tile.h"

#include <algorithm>
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

/// What libjpeg works with; nothing in it is destroyed by its longjmp.
struct JpegEncoder::State {
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg_destination_mgr destination;
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
  JpegSettings settings;
  /// Where a stream goes; as long as the longest so far. Not jpeg_mem_dest(): after an error that one leaves its caller
  /// with a pointer to a buffer it may have freed already.
  std::vector<std::byte> buffer;
  std::size_t stream_bytes = 0;
};

namespace {

constexpr std::size_t kFirstBufferBytes = 1 << 14;
constexpr int kRowsACall = 16;  // what libjpeg works off at once with 4:2:0

enum class Wanted { kTables, kTile, kFile };

JpegEncoder::State* state_of(void* client) { return static_cast<JpegEncoder::State*>(client); }

/// An exception must not cross libjpeg.
bool resize(std::vector<std::byte>& bytes, std::size_t size) noexcept {
  try {
    bytes.resize(size);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

void begin_stream(j_compress_ptr jpeg) {
  auto& state = *state_of(jpeg->client_data);
  if (state.buffer.size() < kFirstBufferBytes && !resize(state.buffer, kFirstBufferBytes))
    ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
  state.destination.next_output_byte = reinterpret_cast<JOCTET*>(state.buffer.data());
  state.destination.free_in_buffer = state.buffer.size();
}

boolean grow_stream(j_compress_ptr jpeg) {
  auto& state = *state_of(jpeg->client_data);
  const std::size_t used = state.buffer.size();
  if (!resize(state.buffer, 2 * used)) ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
  state.destination.next_output_byte = reinterpret_cast<JOCTET*>(state.buffer.data() + used);
  state.destination.free_in_buffer = used;
  return TRUE;
}

void end_stream(j_compress_ptr jpeg) {
  auto& state = *state_of(jpeg->client_data);
  state.stream_bytes = state.buffer.size() - state.destination.free_in_buffer;
}

[[noreturn]] void escape(j_common_ptr info) {
  auto& state = *state_of(info->client_data);
  info->err->format_message(info, state.message);
  std::longjmp(state.escape, 1);
}

void ignore_message(j_common_ptr) {}

/// What tables and tiles must agree on.
void configure(jpeg_compress_struct& jpeg, const JpegSettings& settings) {
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_colorspace(&jpeg, settings.colour == JpegColour::kRgb ? JCS_RGB : JCS_YCbCr);
  jpeg_set_quality(&jpeg, settings.quality, TRUE);
  for (int component = 0; component < 3; ++component) {
    const int factor = component == 0 && settings.sampling == ChromaSampling::k420 ? 2 : 1;
    jpeg.comp_info[component].h_samp_factor = factor;
    jpeg.comp_info[component].v_samp_factor = factor;
  }
  jpeg.dct_method = JDCT_ISLOW;
  jpeg.optimize_coding = FALSE;
  // Without it what has no names of its own is taken for YCbCr.
  jpeg.write_Adobe_marker = settings.colour == JpegColour::kRgb ? TRUE : FALSE;
}

/// libjpeg leaves by longjmp: nothing with a destructor lives in the frames of these two.
bool create(JpegEncoder::State& state) {
  state.jpeg.err = jpeg_std_error(&state.errors);
  state.errors.error_exit = escape;
  state.errors.output_message = ignore_message;
  state.jpeg.client_data = &state;
  if (setjmp(state.escape) != 0) {
    jpeg_destroy_compress(&state.jpeg);
    return false;
  }
  jpeg_create_compress(&state.jpeg);
  state.destination.init_destination = begin_stream;
  state.destination.empty_output_buffer = grow_stream;
  state.destination.term_destination = end_stream;
  state.jpeg.dest = &state.destination;
  configure(state.jpeg, state.settings);
  return true;
}

bool compress(JpegEncoder::State& state, Wanted wanted, const PixelRows& pixels) {
  jpeg_compress_struct& jpeg = state.jpeg;
  if (setjmp(state.escape) != 0) {
    jpeg_abort_compress(&jpeg);
    return false;
  }
  jpeg.write_JFIF_header = wanted == Wanted::kFile ? TRUE : FALSE;
  jpeg_suppress_tables(&jpeg, wanted == Wanted::kTile ? TRUE : FALSE);
  if (wanted == Wanted::kTables) {
    jpeg_write_tables(&jpeg);
    return true;
  }
  jpeg.image_width = static_cast<JDIMENSION>(pixels.width);
  jpeg.image_height = static_cast<JDIMENSION>(pixels.height);
  jpeg_start_compress(&jpeg, wanted == Wanted::kTile ? FALSE : TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    JSAMPROW rows[kRowsACall];
    JDIMENSION count = 0;
    for (; count < kRowsACall && jpeg.next_scanline + count < jpeg.image_height; ++count) {
      // libjpeg's interface is older than const; it does not write to its input.
      rows[count] = const_cast<JSAMPROW>(pixels.at(0, jpeg.next_scanline + count));
    }
    jpeg_write_scanlines(&jpeg, rows, count);
  }
  jpeg_finish_compress(&jpeg);
  return true;
}

PixelRows dense(std::span<const std::uint8_t> rgb, int width, int height) {
  if (width < 1 || height < 1 || rgb.size() != static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3)
    throw std::invalid_argument("JPEG: pixels do not fit the size");
  return {rgb.data(), width, height, std::int64_t{width} * 3};
}

std::vector<std::byte> copied(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

JpegEncoder::JpegEncoder(JpegSettings settings) : state_(std::make_unique<State>()) {
  if (settings.quality < 1 || settings.quality > 100) throw std::invalid_argument("JPEG quality must be 1 to 100");
  if (settings.colour == JpegColour::kRgb && settings.sampling != ChromaSampling::k444)
    throw std::invalid_argument("JPEG of RGB has no subsampling");
  state_->settings = settings;
  if (!create(*state_)) {
    // The destructor does not run after a throw, and create() has cleaned up.
    throw Error(ErrorCode::kOutput, "JPEG: {}", std::string(state_->message));
  }
}

JpegEncoder::~JpegEncoder() { jpeg_destroy_compress(&state_->jpeg); }

std::span<const std::byte> JpegEncoder::encode(Stream stream, const PixelRows& pixels) {
  if (pixels.width < 1 || pixels.height < 1) throw std::invalid_argument("JPEG: no pixels");
  if (!compress(*state_, stream == Stream::kTile ? Wanted::kTile : Wanted::kFile, pixels)) {
    throw Error(ErrorCode::kOutput, "JPEG of {} x {} px: {}", pixels.width, pixels.height,
                std::string(state_->message));
  }
  return std::span(state_->buffer).first(state_->stream_bytes);
}

std::span<const std::byte> JpegEncoder::tables() {
  if (!compress(*state_, Wanted::kTables, {}))
    throw Error(ErrorCode::kOutput, "JPEG tables: {}", std::string(state_->message));
  return std::span(state_->buffer).first(state_->stream_bytes);
}

std::vector<std::byte> jpeg_tables(JpegSettings settings) { return copied(JpegEncoder(settings).tables()); }

std::vector<std::byte> encode_jpeg_tile(std::span<const std::uint8_t> rgb, int width, int height,
                                        JpegSettings settings) {
  return copied(JpegEncoder(settings).encode(JpegEncoder::Stream::kTile, dense(rgb, width, height)));
}

std::vector<std::byte> encode_jpeg_file(std::span<const std::uint8_t> rgb, int width, int height, int quality) {
  return copied(JpegEncoder({quality}).encode(JpegEncoder::Stream::kFile, dense(rgb, width, height)));
}

}  // namespace vtissue::io
