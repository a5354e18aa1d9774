#include "io/jpeg2000_decoder.h"

#include <openjpeg.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <memory>

namespace vtissue::io {
namespace {

/// The file that OpenJPEG believes to read.
struct CodestreamSource {
  std::span<const std::byte> bytes;
  std::size_t at = 0;
};

OPJ_SIZE_T read_codestream(void* buffer, OPJ_SIZE_T bytes, void* user) {
  auto& source = *static_cast<CodestreamSource*>(user);
  const std::size_t taken = std::min<std::size_t>(bytes, source.bytes.size() - source.at);
  if (taken == 0) return static_cast<OPJ_SIZE_T>(-1);
  std::memcpy(buffer, source.bytes.data() + source.at, taken);
  source.at += taken;
  return taken;
}

OPJ_OFF_T skip_source(OPJ_OFF_T bytes, void* user) {
  auto& source = *static_cast<CodestreamSource*>(user);
  if (bytes < 0 || static_cast<std::size_t>(bytes) > source.bytes.size() - source.at) return -1;
  source.at += static_cast<std::size_t>(bytes);
  return bytes;
}

OPJ_BOOL seek_source(OPJ_OFF_T offset, void* user) {
  auto& source = *static_cast<CodestreamSource*>(user);
  if (offset < 0 || static_cast<std::size_t>(offset) > source.bytes.size()) return OPJ_FALSE;
  source.at = static_cast<std::size_t>(offset);
  return OPJ_TRUE;
}

void note_message(const char* text, void* user) noexcept {
  try {
    std::string& message = *static_cast<std::string*>(user);
    message = text;
    while (!message.empty() && message.back() == '\n') message.pop_back();
  } catch (const std::exception&) {  // then without its message
  }
}

void pass_over_message(const char*, void*) {}

struct DecoderDeleter {
  void operator()(opj_codec_t* codec) const { opj_destroy_codec(codec); }
};
struct SourceDeleter {
  void operator()(opj_stream_t* stream) const { opj_stream_destroy(stream); }
};
struct PlanesDeleter {
  void operator()(opj_image_t* image) const { opj_image_destroy(image); }
};

std::uint8_t clamped(int value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

/// JPEG's YCbCr in 16.16 fixed point, as libjpeg has it.
void ycbcr_to_rgb(int y, int cb, int cr, std::uint8_t* rgb) {
  constexpr int kHalf = 1 << 15;
  cb -= 128, cr -= 128;
  rgb[0] = clamped(y + ((91881 * cr + kHalf) >> 16));
  rgb[1] = clamped(y + ((-22554 * cb - 46802 * cr + kHalf) >> 16));
  rgb[2] = clamped(y + ((116130 * cb + kHalf) >> 16));
}

/// How many pixels a component's sample spans; 0 if that is not 1 or 2.
int pixels_a_sample(OPJ_UINT32 samples, int pixels) {
  for (const int span : {1, 2}) {
    if (static_cast<int>(samples) == (pixels + span - 1) / span) return span;
  }
  return 0;
}

}  // namespace

TileState decode_jpeg2000(std::span<const std::byte> stream_bytes, bool is_ycbcr, int width, int height,
                          std::uint8_t* out, std::int64_t row_bytes, std::string& message) {
  message = "OpenJPEG cannot decode it";
  CodestreamSource source{stream_bytes};
  const std::unique_ptr<opj_codec_t, DecoderDeleter> codec(opj_create_decompress(OPJ_CODEC_J2K));
  const std::unique_ptr<opj_stream_t, SourceDeleter> stream(opj_stream_create(stream_bytes.size() + 1, OPJ_TRUE));
  if (codec == nullptr || stream == nullptr) return TileState::kUnsupported;
  opj_set_error_handler(codec.get(), note_message, &message);
  opj_set_warning_handler(codec.get(), pass_over_message, nullptr);
  opj_set_info_handler(codec.get(), pass_over_message, nullptr);
  opj_stream_set_user_data(stream.get(), &source, nullptr);
  opj_stream_set_user_data_length(stream.get(), stream_bytes.size());
  opj_stream_set_read_function(stream.get(), read_codestream);
  opj_stream_set_skip_function(stream.get(), skip_source);
  opj_stream_set_seek_function(stream.get(), seek_source);
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  if (opj_setup_decoder(codec.get(), &parameters) == OPJ_FALSE) return TileState::kUnsupported;
  opj_image_t* header = nullptr;
  const bool has_header = opj_read_header(stream.get(), codec.get(), &header) != OPJ_FALSE;
  const std::unique_ptr<opj_image_t, PlanesDeleter> image(header);
  if (!has_header || image == nullptr) return TileState::kDamaged;
  if (image->numcomps != 3 || static_cast<int>(image->x1 - image->x0) != width ||
      static_cast<int>(image->y1 - image->y0) != height) {
    message = "JPEG 2000 of another size than its tile";
    return TileState::kUnsupported;
  }
  if (opj_decode(codec.get(), stream.get(), image.get()) == OPJ_FALSE) return TileState::kDamaged;
  opj_end_decompress(codec.get(), stream.get());  // what follows the last tile's data does not matter
  std::array<int, 3> across{}, down{};
  for (std::size_t c = 0; c < 3; ++c) {
    const opj_image_comp_t& component = image->comps[c];
    across[c] = pixels_a_sample(component.w, width), down[c] = pixels_a_sample(component.h, height);
    const bool is_whole = across[c] == 1 && down[c] == 1;
    if (component.data == nullptr || component.prec != 8 || component.sgnd != 0 || across[c] == 0 || down[c] == 0 ||
        (!is_whole && (c == 0 || !is_ycbcr))) {
      message = "JPEG 2000 with components of another kind";
      return TileState::kUnsupported;
    }
  }
  for (int y = 0; y < height; ++y) {
    std::uint8_t* rgb = out + y * row_bytes;
    std::array<const OPJ_INT32*, 3> rows{};
    for (std::size_t c = 0; c < 3; ++c)
      rows[c] = image->comps[c].data + static_cast<std::size_t>(y / down[c]) * image->comps[c].w;
    if (is_ycbcr) {
      for (int x = 0; x < width; ++x, rgb += 3)
        ycbcr_to_rgb(rows[0][x], rows[1][x / across[1]], rows[2][x / across[2]], rgb);
    } else {
      for (int x = 0; x < width; ++x, rgb += 3) {
        for (std::size_t c = 0; c < 3; ++c) rgb[c] = clamped(rows[c][x]);
      }
    }
  }
  return TileState::kDecoded;
}

}  // namespace vtissue::io
