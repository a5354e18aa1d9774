#include "io/self_test.h"

#include <hdf5.h>
#include <openslide.h>
#include <tiffio.h>

#include <cmath>
#include <vips/vips8>

#include "core/error.h"
#include "io/vips_runtime.h"

namespace vtissue::io {

namespace {

constexpr int kSide = 16;
constexpr double kJpegTolerance = 12;  // mean levels, on a gradient

/// A gradient through `suffix`'s codec and back.
std::string round_trip(const std::string& suffix, double tolerance) {
  try {
    ensure_image_libraries();
    std::vector<std::uint8_t> rgb(kSide * kSide * 3);
    for (std::size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<std::uint8_t>(i * 255 / rgb.size());
    const vips::VImage image =
        vips::VImage::new_from_memory(rgb.data(), rgb.size(), kSide, kSide, 3, VIPS_FORMAT_UCHAR);
    void* buffer = nullptr;
    std::size_t size = 0;
    image.write_to_buffer(suffix.c_str(), &buffer, &size);
    const std::unique_ptr<void, decltype(&g_free)> owner(buffer, g_free);
    const vips::VImage back = vips::VImage::new_from_buffer(buffer, size, "");
    const double difference = (back - image).abs().avg();
    if (difference > tolerance) {
      throw Error(ErrorCode::kDevice, "decodes to other pixels (mean difference {:.1f} levels); reinstall libvips",
                  difference);
    }
    return fmt::format("{} bytes, mean difference {:.2f} levels", size, difference);
  } catch (const vips::VError& e) {
    throw Error(ErrorCode::kDevice, "libvips cannot handle {}: {}", suffix, e.what());
  }
}

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  hbool_t thread_safe = 0;
  H5is_library_threadsafe(&thread_safe);
  return fmt::format("{}.{}.{}, {}", major, minor, release,
                     thread_safe ? "thread-safe" : "not thread-safe (calls are serialised)");
}

std::string tiff_version() {
  const std::string text = TIFFGetVersion();
  return text.substr(0, text.find('\n'));
}

}  // namespace

std::vector<SelfTest> self_tests() {
  return {
      {"OpenSlide", [] { return std::string(openslide_get_version()); }},
      {"libvips", [] { return std::string(vips_version_string()); }},
      {"libtiff", tiff_version},
      {"HDF5", hdf5_version},
      {"codec JPEG", [] { return round_trip(".jpg[Q=95,subsample-mode=off]", kJpegTolerance); }},
      {"codec PNG", [] { return round_trip(".png", 0); }},
      {"codec TIFF deflate", [] { return round_trip(".tif[compression=deflate]", 0); }},
      {"codec TIFF JPEG", [] { return round_trip(".tif[compression=jpeg,Q=95]", kJpegTolerance); }},
  };
}

}  // namespace vtissue::io
