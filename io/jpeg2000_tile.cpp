#include "io/jpeg2000_tile.h"

#include <openjpeg.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>

#include "core/error.h"

namespace vtissue::io {
namespace {

constexpr int kMostResolutions = 6;
constexpr OPJ_SIZE_T kStreamBuffer = 1 << 16;

struct CodecDeleter {
  void operator()(opj_codec_t* codec) const { opj_destroy_codec(codec); }
};
struct ImageDeleter {
  void operator()(opj_image_t* image) const { opj_image_destroy(image); }
};
struct StreamDeleter {
  void operator()(opj_stream_t* stream) const { opj_stream_destroy(stream); }
};

/// The file that OpenJPEG believes to write: it goes back to fill in lengths.
struct CodestreamSink {
  std::vector<std::byte> bytes;
  std::size_t at = 0;
};

/// Exceptions must not cross OpenJPEG.
bool reach(CodestreamSink& sink, std::size_t size) noexcept {
  try {
    if (size > sink.bytes.size()) sink.bytes.resize(size);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

OPJ_SIZE_T write_codestream(void* buffer, OPJ_SIZE_T bytes, void* user) {
  auto& sink = *static_cast<CodestreamSink*>(user);
  if (!reach(sink, sink.at + bytes)) return static_cast<OPJ_SIZE_T>(-1);
  std::memcpy(sink.bytes.data() + sink.at, buffer, bytes);
  sink.at += bytes;
  return bytes;
}

OPJ_OFF_T skip_codestream(OPJ_OFF_T bytes, void* user) {
  auto& sink = *static_cast<CodestreamSink*>(user);
  if (bytes < 0 || !reach(sink, sink.at + static_cast<std::size_t>(bytes))) return -1;
  sink.at += static_cast<std::size_t>(bytes);
  return bytes;
}

OPJ_BOOL seek_codestream(OPJ_OFF_T offset, void* user) {
  auto& sink = *static_cast<CodestreamSink*>(user);
  if (offset < 0 || !reach(sink, static_cast<std::size_t>(offset))) return OPJ_FALSE;
  sink.at = static_cast<std::size_t>(offset);
  return OPJ_TRUE;
}

void keep_message(const char* message, void* user) noexcept {
  try {
    *static_cast<std::string*>(user) = message;
    while (!static_cast<std::string*>(user)->empty() && static_cast<std::string*>(user)->back() == '\n')
      static_cast<std::string*>(user)->pop_back();
  } catch (const std::exception&) {  // then without its message
  }
}

void drop_message(const char*, void*) {}

std::unique_ptr<opj_image_t, ImageDeleter> planes_of(const PixelRows& pixels) {
  std::array<opj_image_cmptparm_t, 3> components{};
  for (opj_image_cmptparm_t& component : components) {
    component.dx = component.dy = 1;
    component.w = static_cast<OPJ_UINT32>(pixels.width);
    component.h = static_cast<OPJ_UINT32>(pixels.height);
    component.prec = 8;
  }
  std::unique_ptr<opj_image_t, ImageDeleter> image(opj_image_create(3, components.data(), OPJ_CLRSPC_SRGB));
  if (image == nullptr) return image;
  image->x1 = static_cast<OPJ_UINT32>(pixels.width);
  image->y1 = static_cast<OPJ_UINT32>(pixels.height);
  std::size_t at = 0;
  for (std::int64_t y = 0; y < pixels.height; ++y) {
    const std::uint8_t* from = pixels.at(0, y);
    for (std::int64_t x = 0; x < pixels.width; ++x, ++at) {
      for (int c = 0; c < 3; ++c) image->comps[c].data[at] = *from++;
    }
  }
  return image;
}

}  // namespace

std::vector<std::byte> encode_jpeg2000(const PixelRows& pixels, int quality) {
  if (quality < 1 || quality > 100) throw std::invalid_argument("JPEG 2000 quality must be 1 to 100");
  if (pixels.width < 1 || pixels.height < 1) throw std::invalid_argument("JPEG 2000: no pixels");
  opj_cparameters_t parameters;
  opj_set_default_encoder_parameters(&parameters);
  parameters.tcp_mct = 1;
  parameters.tcp_numlayers = 1;
  // A resolution halves both sides: none is left of the smallest.
  const auto shorter = static_cast<std::uint64_t>(std::min(pixels.width, pixels.height));
  parameters.numresolution = std::min(kMostResolutions, static_cast<int>(std::bit_width(shorter)));
  if (quality == 100) {
    parameters.cp_disto_alloc = 1;
    parameters.tcp_rates[0] = 0;
  } else {
    parameters.irreversible = 1;
    parameters.cp_fixed_quality = 1;
    parameters.tcp_distoratio[0] = 30.0f + static_cast<float>(quality) / 5.0f;
  }

  std::string message = "no message";
  const std::unique_ptr<opj_codec_t, CodecDeleter> codec(opj_create_compress(OPJ_CODEC_J2K));
  const auto image = planes_of(pixels);
  const std::unique_ptr<opj_stream_t, StreamDeleter> stream(opj_stream_create(kStreamBuffer, OPJ_FALSE));
  CodestreamSink sink;
  const auto refuse = [&] {
    throw Error(ErrorCode::kOutput, "JPEG 2000 of {} x {} px: {}", pixels.width, pixels.height, message);
  };
  if (codec == nullptr || image == nullptr || stream == nullptr) refuse();
  opj_set_error_handler(codec.get(), keep_message, &message);
  opj_set_warning_handler(codec.get(), drop_message, nullptr);
  opj_set_info_handler(codec.get(), drop_message, nullptr);
  opj_stream_set_user_data(stream.get(), &sink, nullptr);
  opj_stream_set_write_function(stream.get(), write_codestream);
  opj_stream_set_skip_function(stream.get(), skip_codestream);
  opj_stream_set_seek_function(stream.get(), seek_codestream);
  if (opj_setup_encoder(codec.get(), &parameters, image.get()) == OPJ_FALSE ||
      opj_start_compress(codec.get(), image.get(), stream.get()) == OPJ_FALSE ||
      opj_encode(codec.get(), stream.get()) == OPJ_FALSE || opj_end_compress(codec.get(), stream.get()) == OPJ_FALSE) {
    refuse();
  }
  return std::move(sink.bytes);
}

}  // namespace vtissue::io
