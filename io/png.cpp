#include "io/png.h"

#include <stdexcept>
#include <vips/vips8>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/jpeg_tile.h"
#include "io/vips_runtime.h"

namespace vtissue::io {
namespace {

constexpr int kJpegQuality = 90;

}  // namespace

std::vector<std::byte> encode_png(std::span<const std::uint8_t> pixels, std::int64_t width, std::int64_t height,
                                  int channels) {
  if (width < 1 || height < 1 || (channels != 1 && channels != 3 && channels != 4) ||
      pixels.size() != static_cast<std::size_t>(width * height * channels)) {
    throw std::invalid_argument("encode_png: pixels do not fit the size");
  }
  ensure_image_libraries();
  try {
    // libvips' interface is older than const; it does not write to its input.
    const vips::VImage memory =
        vips::VImage::new_from_memory(const_cast<std::uint8_t*>(pixels.data()), pixels.size(), static_cast<int>(width),
                                      static_cast<int>(height), channels, VIPS_FORMAT_UCHAR);
    const auto interpretation = channels == 1 ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB;
    VipsBlob* const blob = memory.copy(vips::VImage::option()->set("interpretation", interpretation))
                               .pngsave_buffer(vips::VImage::option()->set("strip", true));
    std::size_t bytes = 0;
    const auto* const begin = static_cast<const std::byte*>(vips_blob_get(blob, &bytes));
    std::vector<std::byte> png(begin, begin + bytes);
    vips_area_unref(VIPS_AREA(blob));
    return png;
  } catch (const vips::VError& error) {
    const std::string message = error.what();
    vips_error_clear();
    throw Error(ErrorCode::kOutput, "PNG of {} x {} px: {}", width, height, message);
  }
}

std::vector<std::byte> encode_png(const RgbImage& image) {
  return encode_png(image.rgb, image.size.width, image.size.height, 3);
}

void write_picture(const std::filesystem::path& path, const RgbImage& image) {
  const std::string extension = path.extension().string();
  if (extension == ".png") {
    write_file_atomically(path, encode_png(image));
  } else if (extension == ".jpg" || extension == ".jpeg") {
    write_file_atomically(path, encode_jpeg_file(image.rgb, static_cast<int>(image.size.width),
                                                 static_cast<int>(image.size.height), kJpegQuality));
  } else {
    throw Error(ErrorCode::kUsage, "{}: unknown kind of picture; end the name with .png or .jpg", path.string());
  }
}

}  // namespace vtissue::io
