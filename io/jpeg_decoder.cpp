#include "io/jpeg_decoder.h"

#include <csetjmp>
#include <cstdio>
#include <new>

#include <jpeglib.h>
// after jpeglib.h
#include <jerror.h>

namespace vtissue::io {

/// What libjpeg works with; nothing in it is destroyed by its longjmp.
struct JpegDecoder::State {
  jpeg_decompress_struct jpeg;
  jpeg_error_mgr errors;
  std::jmp_buf escape;
  bool damaged;  ///< libjpeg went on with pixels of its own
  char message[JMSG_LENGTH_MAX];
};

namespace {

constexpr int kDecodedRowsACall = 16;

[[noreturn]] void leave_decoding(j_common_ptr info) {
  auto& state = *static_cast<JpegDecoder::State*>(info->client_data);
  info->err->format_message(info, state.message);
  std::longjmp(state.escape, 1);
}

/// libjpeg calls these warnings: grey or shifted pixels in place of lost ones.
void note_damage(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_JPEG_EOF:
    case JWRN_MUST_RESYNC: {
      auto& state = *static_cast<JpegDecoder::State*>(info->client_data);
      if (!state.damaged) info->err->format_message(info, state.message);
      state.damaged = true;
      break;
    }
    default:
      break;
  }
}

struct JpegTile {
  std::span<const std::byte> tables, stream;
  bool is_ycbcr;
  int width, height;
  std::uint8_t* out;
  std::int64_t row_bytes;
};

void feed(jpeg_decompress_struct& jpeg, std::span<const std::byte> bytes) {
  jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

/// libjpeg leaves by longjmp: nothing with a destructor lives in this frame.
TileState run(JpegDecoder::State& state, const JpegTile& tile) {
  jpeg_decompress_struct& jpeg = state.jpeg;
  state.damaged = false;
  state.message[0] = 0;
  if (setjmp(state.escape) != 0) {
    jpeg_abort_decompress(&jpeg);
    return state.damaged ? TileState::kDamaged : TileState::kUnsupported;
  }
  if (!tile.tables.empty()) {
    feed(jpeg, tile.tables);
    if (jpeg_read_header(&jpeg, FALSE) != JPEG_HEADER_TABLES_ONLY) ERREXIT(&jpeg, JERR_NO_SOI);
  }
  feed(jpeg, tile.stream);
  jpeg_read_header(&jpeg, TRUE);
  if (jpeg.image_width != static_cast<JDIMENSION>(tile.width) ||
      jpeg.image_height != static_cast<JDIMENSION>(tile.height) || jpeg.num_components != 3) {
    std::snprintf(state.message, sizeof state.message, "JPEG of %u x %u px and %d components in a tile of %d x %d px",
                  jpeg.image_width, jpeg.image_height, jpeg.num_components, tile.width, tile.height);
    jpeg_abort_decompress(&jpeg);
    return TileState::kUnsupported;
  }
  jpeg.jpeg_color_space = tile.is_ycbcr ? JCS_YCbCr : JCS_RGB;
  jpeg.out_color_space = JCS_RGB;
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW rows[kDecodedRowsACall];
    JDIMENSION count = 0;
    for (; count < kDecodedRowsACall && jpeg.output_scanline + count < jpeg.output_height; ++count)
      rows[count] = tile.out + static_cast<std::int64_t>(jpeg.output_scanline + count) * tile.row_bytes;
    jpeg_read_scanlines(&jpeg, rows, count);
  }
  jpeg_finish_decompress(&jpeg);
  return state.damaged ? TileState::kDamaged : TileState::kDecoded;
}

bool create_decoder(JpegDecoder::State& state) {
  state.jpeg.err = jpeg_std_error(&state.errors);
  state.errors.error_exit = leave_decoding;
  state.errors.emit_message = note_damage;
  state.jpeg.client_data = &state;
  if (setjmp(state.escape) != 0) {
    jpeg_destroy_decompress(&state.jpeg);
    return false;
  }
  jpeg_create_decompress(&state.jpeg);
  return true;
}

}  // namespace

JpegDecoder::JpegDecoder() : state_(std::make_unique<State>()) {
  if (!create_decoder(*state_)) throw std::bad_alloc();
}

JpegDecoder::~JpegDecoder() { jpeg_destroy_decompress(&state_->jpeg); }

TileState JpegDecoder::decode(std::span<const std::byte> tables, std::span<const std::byte> stream, bool is_ycbcr,
                              int width, int height, std::uint8_t* out, std::int64_t row_bytes, std::string& message) {
  const TileState result = run(*state_, {tables, stream, is_ycbcr, width, height, out, row_bytes});
  if (result != TileState::kDecoded) message = state_->message;
  return result;
}

}  // namespace vtissue::io
