#include "io/slide_reader.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <system_error>

#include "core/error.h"
#include "io/ome_tiff_reader.h"
#include "io/openslide_reader.h"
#include "io/resample.h"
#include "io/square_pixels.h"
#include "io/srgb_reader.h"
#include "io/tiff_check.h"
#include "io/vips_reader.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;

std::int64_t level_pixel(std::int64_t level0_px, double downsample) {
  return std::llround(static_cast<double>(level0_px) / downsample);
}

std::int64_t level0_pixel(std::int64_t level_px, double downsample) {
  return std::llround(static_cast<double>(level_px) * downsample);
}

void require_regular_file(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) throw Error(ErrorCode::kBadInput, "{}: no such file", path.string());
  if (error) throw Error(ErrorCode::kBadInput, "{}: {}", path.string(), error.message());
  if (status.type() == fs::file_type::directory) {
    throw Error(ErrorCode::kBadInput, "{}: a folder; name the slide's file", path.string());
  }
  if (status.type() != fs::file_type::regular) {
    throw Error(ErrorCode::kBadInput, "{}: not a regular file", path.string());
  }
}

}  // namespace

Point<Level0Px> level_origin(const SlideLevel& level, Point<LevelPx> pixel) {
  return {level0_pixel(pixel.x, level.downsample), level0_pixel(pixel.y, level.downsample)};
}

std::unique_ptr<SlideReader> SlideReader::open(const fs::path& path, const SlideOptions& options) {
  require_regular_file(path);
  check_tiff_is_whole(path);
  TiffLevels tiff = read_tiff_levels(path);
  const auto seen = [&options](std::unique_ptr<SlideReader> slide) {
    if (options.to_srgb) slide = read_as_srgb(std::move(slide));
    return read_with_square_pixels(std::move(slide), options.pixel_aspect);
  };
  if (auto slide = open_ome_tiff(path, options, tiff)) return seen(std::move(slide));
  if (auto slide = open_openslide(path, options, std::move(tiff))) return seen(std::move(slide));
  if (auto picture = open_picture(path, options)) return seen(std::move(picture));
  throw Error(ErrorCode::kBadInput,
              "{}: not recognised as a slide or picture (OpenSlide's formats, TIFF, PNG and JPEG are read)",
              path.string());
}

SlideReader::Picture SlideReader::associated_image(const std::string& name) const {
  throw std::invalid_argument("SlideReader::associated_image: no \"" + name + "\"");
}

Box<LevelPx> SlideReader::checked_box(int level, Point<Level0Px> origin, Size<LevelPx> size,
                                      std::size_t out_bytes) const {
  const auto& levels = info().levels;
  if (level < 0 || static_cast<std::size_t>(level) >= levels.size()) {
    throw std::invalid_argument(fmt::format("SlideReader::read: level {} of {}", level, levels.size()));
  }
  if (size.width < 0 || size.height < 0 || out_bytes != static_cast<std::size_t>(size.area()) * 3) {
    throw std::invalid_argument(
        fmt::format("SlideReader::read: {} bytes for {} x {} pixels", out_bytes, size.width, size.height));
  }
  const SlideLevel& at = levels[static_cast<std::size_t>(level)];
  const Point<LevelPx> pixel{level_pixel(origin.x, at.downsample), level_pixel(origin.y, at.downsample)};
  if (level_origin(at, pixel) != origin) {
    throw std::invalid_argument(
        fmt::format("SlideReader::read: origin ({}, {}) is not a multiple of level {}'s downsample {}", origin.x,
                    origin.y, level, at.downsample));
  }
  return {pixel, size};
}

double SlideReader::downsample_of(Size<LevelPx> level0, Size<LevelPx> level, double reported) {
  const double whole = std::round(reported);
  const auto agrees = [&](std::int64_t of_level0, std::int64_t of_level) {
    return std::abs(static_cast<double>(of_level0) - whole * static_cast<double>(of_level)) < whole;
  };
  if (whole >= 1 && agrees(level0.width, level.width) && agrees(level0.height, level.height)) return whole;
  return reported;
}

SlideReader::Picture SlideReader::area_thumbnail(int longest_px) const {
  if (longest_px <= 0) throw std::invalid_argument("SlideReader::thumbnail: longest side must be positive");
  const auto& levels = info().levels;
  const Size<LevelPx> whole = levels.front().size;
  const double downsample =
      std::max(1.0, static_cast<double>(std::max(whole.width, whole.height)) / static_cast<double>(longest_px));
  std::size_t chosen = 0;
  for (std::size_t level = 0; level < levels.size(); ++level) {
    if (levels[level].downsample <= downsample && levels[level].downsample > levels[chosen].downsample) chosen = level;
  }
  const SlideLevel& level = levels[chosen];
  const auto extent = [&](std::int64_t px) {
    return std::max<std::int64_t>(1,
                                  static_cast<std::int64_t>(std::floor(static_cast<double>(px) / downsample + 1e-9)));
  };
  Picture picture;
  picture.downsample = downsample;
  picture.size = {extent(whole.width), extent(whole.height)};
  picture.rgb.resize(static_cast<std::size_t>(picture.size.area()) * 3);
  const double ratio = downsample / level.downsample;
  const auto source = [&](Box<LevelPx> box, std::span<std::uint8_t> out) {
    read(static_cast<int>(chosen), level_origin(level, box.origin), box.size, out);
  };
  area_resample(AreaAxis(ratio, level.size.width), AreaAxis(ratio, level.size.height),
                {{0, 0}, {picture.size.width, picture.size.height}}, source, picture.rgb.data(),
                static_cast<std::size_t>(picture.size.width) * 3);
  return picture;
}

}  // namespace vtissue::io
