#include "io/openslide_reader.h"

#include <openslide/openslide.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "io/mpp.h"
#include "io/tiff_check.h"
#include "io/tiff_tiles.h"
#include "io/vips_runtime.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;

/// Height of the strips a box is read in: bounds the ARGB copy.
constexpr std::int64_t kStripPx = 4 << 20;
/// Grid that levels of fractional downsample are read on.
constexpr std::int64_t kCellPx = 256;

using Handle = std::shared_ptr<openslide_t>;

Handle open_handle(const fs::path& path) {
  openslide_t* const slide = openslide_open(path.c_str());
  return slide == nullptr ? Handle() : Handle(slide, openslide_close);
}

/// Premultiplied 0xAARRGGBB over white.
void compose_over_white(const std::uint32_t* argb, std::size_t pixels, std::uint8_t* rgb) {
  for (std::size_t i = 0; i < pixels; ++i, rgb += 3) {
    const std::uint32_t pixel = argb[i], white = 255 - (pixel >> 24);
    rgb[0] = static_cast<std::uint8_t>(std::min<std::uint32_t>(255, (pixel >> 16 & 255) + white));
    rgb[1] = static_cast<std::uint8_t>(std::min<std::uint32_t>(255, (pixel >> 8 & 255) + white));
    rgb[2] = static_cast<std::uint8_t>(std::min<std::uint32_t>(255, (pixel & 255) + white));
  }
}

std::int64_t floor_to(std::int64_t value, std::int64_t step) {
  const std::int64_t remainder = value % step;
  return value - (remainder < 0 ? remainder + step : remainder);
}

class OpenSlideReader final : public SlideReader {
 public:
  /// `tiff`: what of the file can be read without OpenSlide. Levels of a size in `left_out` that cannot are not
  /// offered.
  OpenSlideReader(fs::path path, Handle handle, const SlideOptions& options, TiffLevels tiff,
                  const std::vector<Size<LevelPx>>& left_out)
      : path_(std::move(path)), handle_(std::move(handle)) {
    openslide_t* const slide = handle_.get();
    SlideProperties properties;
    for (const char* const* name = openslide_get_property_names(slide); *name != nullptr; ++name) {
      if (const char* const value = openslide_get_property_value(slide, *name)) properties[*name] = value;
    }
    info_.path = path_;
    info_.format = properties["openslide.vendor"];
    const int levels = openslide_get_level_count(slide);
    std::vector<TiffLevel> direct;
    for (int level = 0; level < levels; ++level) {
      Size<LevelPx> size;
      openslide_get_level_dimensions(slide, level, &size.width, &size.height);
      TiffLevel own = take_level(tiff.chain, size);
      if (own.size.empty() && std::find(left_out.begin(), left_out.end(), size) != left_out.end()) continue;
      direct.push_back(std::move(own));
      const double reported = openslide_get_level_downsample(slide, level);
      sources_.push_back({level, reported});
      const Size<LevelPx> level0 = info_.levels.empty() ? size : info_.levels.front().size;
      info_.levels.push_back({size, downsample_of(level0, size, reported)});
    }
    if (info_.levels.empty() || info_.levels.front().size.empty()) {
      throw Error(ErrorCode::kBadInput, "{}: a slide without pixels", path_.string());
    }
    info_.objective_power = objective_power_of(properties);
    info_.mpp = resolve_mpp(properties, options.mpp, path_);
    info_.bounds = bounds_of(properties);
    info_.icc_profile = std::move(tiff.icc_profile);
    for (const char* const* name = openslide_get_associated_image_names(slide); *name != nullptr; ++name)
      info_.associated.emplace_back(*name);
    if (std::any_of(direct.begin(), direct.end(), [](const TiffLevel& level) { return !level.size.empty(); }))
      direct_ = std::make_unique<TiffTiles>(path_, std::move(direct));
  }

  const SlideInfo& info() const override { return info_; }

  void read(int level, Point<Level0Px> origin, Size<LevelPx> size, std::span<std::uint8_t> out) const override {
    const Box<LevelPx> box = checked_box(level, origin, size, out.size());
    if (size.empty()) return;
    const auto index = static_cast<std::size_t>(level);
    if (direct_ != nullptr && direct_->has(index) && direct_->read(index, box, out)) return;
    const std::int64_t strip_rows = std::max<std::int64_t>(1, kStripPx / size.width);
    for (std::int64_t row = 0; row < size.height; row += strip_rows) {
      const Box<LevelPx> strip{{box.origin.x, box.origin.y + row},
                               {size.width, std::min(strip_rows, size.height - row)}};
      read_strip(level, strip, out.data() + static_cast<std::size_t>(row * size.width) * 3);
    }
  }

  Picture thumbnail(int longest_px) const override { return area_thumbnail(longest_px); }

  /// With a handle of its own: a picture that cannot be decoded must not end the reading of tiles.
  Picture associated_image(const std::string& name) const override {
    if (std::find(info_.associated.begin(), info_.associated.end(), name) == info_.associated.end())
      return SlideReader::associated_image(name);
    const Handle own = open_handle(path_);
    Picture picture;
    if (own != nullptr)
      openslide_get_associated_image_dimensions(own.get(), name.c_str(), &picture.size.width, &picture.size.height);
    if (own == nullptr || picture.size.width <= 0 || picture.size.height <= 0)
      throw Error(ErrorCode::kBadInput, "{}: the image \"{}\" cannot be read", path_.string(), name);
    std::vector<std::uint32_t> argb(static_cast<std::size_t>(picture.size.area()));
    openslide_read_associated_image(own.get(), name.c_str(), argb.data());
    if (const char* const error = openslide_get_error(own.get())) {
      throw Error(ErrorCode::kBadInput, "{}: the image \"{}\" cannot be decoded: {}", path_.string(), name, error);
    }
    picture.rgb.resize(argb.size() * 3);
    compose_over_white(argb.data(), argb.size(), picture.rgb.data());
    return picture;
  }

 private:
  /// A level as OpenSlide counts it.
  struct Source {
    int level;
    double downsample;  ///< what OpenSlide divides an origin by
  };

  /// The image of that size, if there is one and no other; else a level of no size.
  static TiffLevel take_level(std::vector<TiffLevel>& chain, Size<LevelPx> size) {
    const auto has_size = [&](const TiffLevel& level) { return level.size == size; };
    const auto found = std::find_if(chain.begin(), chain.end(), has_size);
    if (found == chain.end() || std::count_if(chain.begin(), chain.end(), has_size) != 1) return {};
    return std::move(*found);
  }

  static std::optional<Box<Level0Px>> bounds_of(const SlideProperties& properties) {
    std::int64_t values[4] = {};
    const char* const names[4] = {"openslide.bounds-x", "openslide.bounds-y", "openslide.bounds-width",
                                  "openslide.bounds-height"};
    for (int i = 0; i < 4; ++i) {
      const auto found = properties.find(names[i]);
      const auto value = found == properties.end() ? std::nullopt : parse_property_number(found->second);
      if (!value) return std::nullopt;
      values[i] = std::llround(*value);
    }
    return Box<Level0Px>{{values[0], values[1]}, {values[2], values[3]}};
  }

  void read_strip(int level, Box<LevelPx> box, std::uint8_t* out) const {
    const double reported = sources_[static_cast<std::size_t>(level)].downsample;
    std::vector<std::uint32_t> argb;
    if (reported == std::floor(reported)) {
      argb.resize(static_cast<std::size_t>(box.size.area()));
      read_argb(level, box, argb.data());
      compose_over_white(argb.data(), argb.size(), out);
      return;
    }
    // OpenSlide divides the origin by its fractional downsample and interpolates, so that a pixel would
    // change with the box it is read in. Cells on a fixed grid, each read whole, make pixels canonical.
    argb.resize(kCellPx * kCellPx);
    std::vector<std::uint8_t> cell(argb.size() * 3);
    const std::int64_t right = box.origin.x + box.size.width, bottom = box.origin.y + box.size.height;
    for (std::int64_t y = floor_to(box.origin.y, kCellPx); y < bottom; y += kCellPx) {
      for (std::int64_t x = floor_to(box.origin.x, kCellPx); x < right; x += kCellPx) {
        read_argb(level, {{x, y}, {kCellPx, kCellPx}}, argb.data());
        compose_over_white(argb.data(), argb.size(), cell.data());
        const std::int64_t left = std::max(x, box.origin.x), end = std::min(x + kCellPx, right);
        for (std::int64_t row = std::max(y, box.origin.y); row < std::min(y + kCellPx, bottom); ++row) {
          std::copy_n(cell.data() + ((row - y) * kCellPx + left - x) * 3, (end - left) * 3,
                      out + ((row - box.origin.y) * box.size.width + left - box.origin.x) * 3);
        }
      }
    }
  }

  /// Reads with the shared handle; after an error once more with one of its own, because an error is
  /// for ever in OpenSlide and may have been another thread's, and leaves a fresh handle behind.
  void read_argb(int level, Box<LevelPx> box, std::uint32_t* argb) const {
    const Handle shared = current_handle();
    if (try_read(shared.get(), level, box, argb).empty()) return;
    const Handle own = open_handle(path_);
    if (own == nullptr) {
      throw Error(ErrorCode::kBadInput, "{}: cannot be opened again after a failed read; was it replaced?",
                  path_.string());
    }
    const std::string error = try_read(own.get(), level, box, argb);
    const Handle fresh = error.empty() ? own : open_handle(path_);
    {
      const std::lock_guard lock(mutex_);
      if (handle_ == shared && fresh != nullptr) handle_ = fresh;
    }
    if (error.empty()) return;
    throw Error(ErrorCode::kBadInput, "{}: level {}, box at ({}, {}) of {} x {} px cannot be decoded: {}",
                path_.string(), level, box.origin.x, box.origin.y, box.size.width, box.size.height, error);
  }

  Handle current_handle() const {
    const std::lock_guard lock(mutex_);
    return handle_;
  }

  /// The error, empty if there is none.
  std::string try_read(openslide_t* slide, int level, Box<LevelPx> box, std::uint32_t* argb) const {
    const Source& source = sources_[static_cast<std::size_t>(level)];
    openslide_read_region(slide, argb, std::llround(static_cast<double>(box.origin.x) * source.downsample),
                          std::llround(static_cast<double>(box.origin.y) * source.downsample), source.level,
                          box.size.width, box.size.height);
    const char* const error = openslide_get_error(slide);
    return error == nullptr ? std::string() : std::string(*error == '\0' ? "unknown error" : error);
  }

  fs::path path_;
  SlideInfo info_;
  std::vector<Source> sources_;        // of info_.levels
  std::unique_ptr<TiffTiles> direct_;  // the levels it has are read by it; OpenSlide where it cannot
  mutable std::mutex mutex_;
  mutable Handle handle_;  // replaced after an error; guarded by mutex_
};

}  // namespace

std::unique_ptr<SlideReader> open_openslide(const fs::path& path, const SlideOptions& options, TiffLevels tiff) {
  ensure_image_libraries();
  const char* const vendor = openslide_detect_vendor(path.c_str());
  if (vendor == nullptr) return nullptr;
  const Handle handle = open_handle(path);
  if (handle == nullptr) {
    throw Error(ErrorCode::kBadInput, "{}: recognised as {} but cannot be opened; the file is damaged", path.string(),
                vendor);
  }
  if (const char* const error = openslide_get_error(handle.get())) {
    throw Error(ErrorCode::kBadInput, "{}: recognised as {} but cannot be opened: {}", path.string(), vendor, error);
  }
  // The formats whose levels are tiled images of a TIFF and nothing else.
  const bool is_plain = vendor == std::string_view("aperio") || vendor == std::string_view("generic-tiff");
  if (!is_plain) tiff = {};
  const auto misread = sizes_that_openslide_misreads(path);
  Size<LevelPx> level0;
  openslide_get_level0_dimensions(handle.get(), &level0.width, &level0.height);
  const bool reads_level0 =
      std::any_of(tiff.chain.begin(), tiff.chain.end(), [&](const TiffLevel& level) { return level.size == level0; });
  if (!reads_level0 && std::find(misread.begin(), misread.end(), level0) != misread.end())
    return nullptr;  // a plain picture, rather
  return std::make_unique<OpenSlideReader>(path, handle, options, std::move(tiff), misread);
}

}  // namespace vtissue::io
