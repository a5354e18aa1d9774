#include "io/vips_reader.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <vips/vips8>

#include "core/error.h"
#include "io/mpp.h"
#include "io/resample.h"
#include "io/vips_runtime.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;

enum class PictureFormat { kTiff, kPng, kJpeg };

/// By content. The loaders are named because libvips would itself prefer OpenSlide for some TIFFs.
std::optional<PictureFormat> format_of(const fs::path& path) {
  for (const auto& [loader, format] :
       {std::pair{"tiffload", PictureFormat::kTiff}, std::pair{"pngload", PictureFormat::kPng},
        std::pair{"jpegload", PictureFormat::kJpeg}}) {
    if (vips_foreign_is_a(loader, path.c_str())) return format;
  }
  return std::nullopt;
}

/// PNG and JPEG end with a marker that cannot occur inside the compressed data.
void require_end_marker(const fs::path& path, PictureFormat format) {
  if (format == PictureFormat::kTiff) return;  // check_tiff_is_whole() knows more
  constexpr std::uintmax_t kTailBytes = 64 << 10;
  const std::uintmax_t bytes = fs::file_size(path);
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(bytes - std::min(bytes, kTailBytes)));
  const std::string tail{std::istreambuf_iterator<char>(file), {}};
  const std::string_view marker = format == PictureFormat::kPng ? "IEND" : "\xff\xd9";
  if (tail.find(marker) == std::string::npos) {
    throw Error(ErrorCode::kBadInput,
                "{}: truncated: the end of the {} is missing after {} bytes; fetch the file again", path.string(),
                format == PictureFormat::kPng ? "PNG" : "JPEG", bytes);
  }
}

/// sRGB, 8 bit, three bands, over white.
vips::VImage to_rgb(vips::VImage image) {
  if (image.has_alpha()) {
    // The background is in the picture's own range: 65535 for 16 bit.
    const bool sixteen = image.format() == VIPS_FORMAT_USHORT;
    image = image.flatten(vips::VImage::option()->set("background", sixteen ? 65535.0 : 255.0));
  }
  if (image.interpretation() != VIPS_INTERPRETATION_sRGB) image = image.colourspace(VIPS_INTERPRETATION_sRGB);
  if (image.format() != VIPS_FORMAT_UCHAR) image = image.cast(VIPS_FORMAT_UCHAR);
  if (image.bands() == 1) image = image.bandjoin(std::vector<vips::VImage>{image, image});
  return image;
}

/// Copies a box that lies inside the image. Regions belong to a thread; images are shared.
void copy_region(const vips::VImage& image, Box<LevelPx> box, std::uint8_t* out, std::size_t row_bytes) {
  constexpr std::int64_t kRegionRows = 256;  // bounds the region's own copy
  const std::unique_ptr<VipsRegion, void (*)(VipsRegion*)> region(vips_region_new(image.get_image()),
                                                                  [](VipsRegion* r) { g_object_unref(r); });
  if (region == nullptr) throw vips::VError();
  for (std::int64_t row = 0; row < box.size.height; row += kRegionRows) {
    const std::int64_t rows = std::min(kRegionRows, box.size.height - row);
    const VipsRect rect{static_cast<int>(box.origin.x), static_cast<int>(box.origin.y + row),
                        static_cast<int>(box.size.width), static_cast<int>(rows)};
    if (vips_region_prepare(region.get(), &rect) != 0) throw vips::VError();
    for (std::int64_t y = 0; y < rows; ++y) {
      std::copy_n(VIPS_REGION_ADDR(region.get(), rect.left, rect.top + static_cast<int>(y)), box.size.width * 3,
                  out + static_cast<std::size_t>(row + y) * row_bytes);
    }
  }
}

class PictureReader final : public SlideReader {
 public:
  PictureReader(fs::path path, PictureFormat format, const SlideOptions& options)
      : path_(std::move(path)), format_(format), image_(load(1)) {
    info_.path = path_;
    info_.format = "image";
    info_.levels.push_back({{image_.width(), image_.height()}, 1.0});
    if (image_.bands() != 3) {
      throw Error(ErrorCode::kBadInput, "{}: {} bands; expected grey or RGB", path_.string(), image_.bands());
    }
    if (image_.get_typeof(VIPS_META_ICC_NAME) != 0) {
      std::size_t bytes = 0;
      const auto* const icc = static_cast<const std::byte*>(image_.get_blob(VIPS_META_ICC_NAME, &bytes));
      info_.icc_profile.assign(icc, icc + bytes);
    }
    SlideProperties properties;  // libvips gives px/mm whatever the file's unit
    properties["tiff.ResolutionUnit"] = "centimeter";
    properties["tiff.XResolution"] = fmt::format("{}", image_.xres() * 10);
    properties["tiff.YResolution"] = fmt::format("{}", image_.yres() * 10);
    info_.mpp = resolve_mpp(properties, options.mpp, path_);
  }

  const SlideInfo& info() const override { return info_; }

  void read(int level, Point<Level0Px> origin, Size<LevelPx> size, std::span<std::uint8_t> out) const override {
    const Box<LevelPx> box = checked_box(level, origin, size, out.size());
    std::fill(out.begin(), out.end(), 255);
    const Size<LevelPx> whole = info_.levels.front().size;
    const std::int64_t left = std::max<std::int64_t>(0, box.origin.x), top = std::max<std::int64_t>(0, box.origin.y);
    const std::int64_t right = std::min(whole.width, box.origin.x + size.width);
    const std::int64_t bottom = std::min(whole.height, box.origin.y + size.height);
    if (left >= right || top >= bottom) return;
    const std::size_t row_bytes = static_cast<std::size_t>(size.width) * 3;
    try {
      copy_region(image_, {{left, top}, {right - left, bottom - top}},
                  out.data() + static_cast<std::size_t>(top - box.origin.y) * row_bytes +
                      static_cast<std::size_t>(left - box.origin.x) * 3,
                  row_bytes);
    } catch (const vips::VError& error) {
      throw decode_error(box, error.what());
    }
  }

  Picture thumbnail(int longest_px) const override {
    const Size<LevelPx> whole = info_.levels.front().size;
    const auto longest = std::max(whole.width, whole.height);
    int shrink = 1;
    if (format_ == PictureFormat::kJpeg && longest_px > 0) {
      while (shrink < 8 && longest >= std::int64_t{2} * shrink * longest_px) shrink *= 2;
    }
    return shrink == 1 ? area_thumbnail(longest_px) : shrunk_thumbnail(longest_px, shrink);
  }

 private:
  vips::VImage load(int shrink) const {
    auto* options = vips::VImage::option()->set("access", VIPS_ACCESS_RANDOM)->set("fail_on", VIPS_FAIL_ON_TRUNCATED);
    if (shrink > 1) options->set("shrink", shrink);
    try {
      switch (format_) {
        case PictureFormat::kTiff:
          return to_rgb(vips::VImage::tiffload(path_.c_str(), options));
        case PictureFormat::kPng:
          return to_rgb(vips::VImage::pngload(path_.c_str(), options));
        case PictureFormat::kJpeg:
          return to_rgb(vips::VImage::jpegload(path_.c_str(), options));
      }
      throw std::logic_error("PictureReader: unknown format");
    } catch (const vips::VError& error) {
      throw Error(ErrorCode::kBadInput, "{}: cannot be opened as a picture: {}", path_.string(), cleaned(error.what()));
    }
  }

  /// A JPEG decodes to a half, a quarter or an eighth at a fraction of the time and memory.
  Picture shrunk_thumbnail(int longest_px, int shrink) const {
    const Size<LevelPx> whole = info_.levels.front().size;
    const vips::VImage shrunk = load(shrink);
    Picture picture;
    picture.downsample = static_cast<double>(std::max(whole.width, whole.height)) / longest_px;
    const auto extent = [&](std::int64_t px) {
      return std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(px) / picture.downsample + 1e-9));
    };
    picture.size = {extent(whole.width), extent(whole.height)};
    picture.rgb.resize(static_cast<std::size_t>(picture.size.area()) * 3);
    const auto source = [&](Box<LevelPx> box, std::span<std::uint8_t> out) {
      try {
        copy_region(shrunk, box, out.data(), static_cast<std::size_t>(box.size.width) * 3);
      } catch (const vips::VError& error) {
        throw decode_error(box, error.what());
      }
    };
    const double ratio = picture.downsample / shrink;
    area_resample(AreaAxis(ratio, shrunk.width()), AreaAxis(ratio, shrunk.height()),
                  {{0, 0}, {picture.size.width, picture.size.height}}, source, picture.rgb.data(),
                  static_cast<std::size_t>(picture.size.width) * 3);
    return picture;
  }

  /// libvips collects messages in one buffer, a line each.
  static std::string cleaned(std::string message) {
    vips_error_clear();
    while (!message.empty() && message.back() == '\n') message.pop_back();
    std::replace(message.begin(), message.end(), '\n', ';');
    return message;
  }

  Error decode_error(Box<LevelPx> box, const char* message) const {
    return Error(ErrorCode::kBadInput, "{}: box at ({}, {}) of {} x {} px cannot be decoded: {}", path_.string(),
                 box.origin.x, box.origin.y, box.size.width, box.size.height, cleaned(message));
  }

  fs::path path_;
  PictureFormat format_;
  vips::VImage image_;
  SlideInfo info_;
};

}  // namespace

SlideReader::Picture read_tiff_page(const fs::path& path, int page) {
  constexpr std::int64_t kLargestArea = std::int64_t{1} << 28;  // of a label or macro
  ensure_image_libraries();
  try {
    const vips::VImage image = to_rgb(vips::VImage::tiffload(
        path.c_str(), vips::VImage::option()->set("page", page)->set("fail_on", VIPS_FAIL_ON_TRUNCATED)));
    SlideReader::Picture picture;
    picture.size = {image.width(), image.height()};
    if (image.bands() != 3 || picture.size.area() > kLargestArea) {
      throw Error(ErrorCode::kBadInput,
                  "{}: page {} of {} x {} pixels and {} bands; expected a picture beside the slide", path.string(),
                  page, picture.size.width, picture.size.height, image.bands());
    }
    picture.rgb.resize(static_cast<std::size_t>(picture.size.area()) * 3);
    copy_region(image, {{0, 0}, picture.size}, picture.rgb.data(), static_cast<std::size_t>(picture.size.width) * 3);
    return picture;
  } catch (const vips::VError& error) {
    std::string message = error.what();
    vips_error_clear();
    std::replace(message.begin(), message.end(), '\n', ';');
    throw Error(ErrorCode::kBadInput, "{}: page {} cannot be decoded: {}", path.string(), page, message);
  }
}

std::unique_ptr<SlideReader> open_picture(const fs::path& path, const SlideOptions& options) {
  ensure_image_libraries();
  const auto format = format_of(path);
  if (!format) return nullptr;
  require_end_marker(path, *format);
  return std::make_unique<PictureReader>(path, *format, options);
}

}  // namespace vtissue::io
