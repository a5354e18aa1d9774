#include <algorithm>
#include <bit>

#include "core/error.h"
#include "io/pyramid_writer.h"

namespace vtissue::io {
namespace {

constexpr std::int64_t kLastLevelPx = 512;
constexpr int kSmallestTilePx = 16;  // TIFF wants multiples of 16
constexpr int kLargestBlockPx = 1 << 14;

bool is_power_of_two(int value) { return value > 0 && std::has_single_bit(static_cast<unsigned>(value)); }

void check(const PyramidOptions& options) {
  if (options.size.empty()) {
    throw Error(ErrorCode::kUsage, "pyramid of {} x {} px: nothing to write", options.size.width, options.size.height);
  }
  if (!(options.mpp > 0))
    throw Error(ErrorCode::kUsage, "pyramid of {} µm/px: expected a positive number", options.mpp);
  if (options.quality < 1 || options.quality > 100)
    throw Error(ErrorCode::kUsage, "quality {}: expected 1 to 100", options.quality);
  if (options.profile == PyramidProfile::kGeneric && options.codec == PyramidCodec::kJpeg2000) {
    throw Error(ErrorCode::kUsage,
                "JPEG 2000 in a generic TIFF is opened by hardly any viewer; choose the profile svs or ome, or another "
                "codec");
  }
  if (!is_power_of_two(options.tile_px) || options.tile_px < kSmallestTilePx) {
    throw Error(ErrorCode::kUsage, "pyramid tiles of {} px: expected a power of two, at least {}", options.tile_px,
                kSmallestTilePx);
  }
  if (!is_power_of_two(options.block_px) || options.block_px < options.tile_px || options.block_px > kLargestBlockPx) {
    throw Error(ErrorCode::kUsage, "pyramid blocks of {} px: expected a power of two from {} to {}", options.block_px,
                options.tile_px, kLargestBlockPx);
  }
}

std::int64_t round_up(std::int64_t value, std::int64_t step) { return (value + step - 1) / step * step; }

}  // namespace

JpegSettings jpeg_settings_of(const PyramidOptions& options) {
  const bool rgb = options.profile == PyramidProfile::kOme && options.sampling == ChromaSampling::k444;
  return {options.quality, options.sampling, rgb ? JpegColour::kRgb : JpegColour::kYCbCr};
}

PyramidLayout layout_of(const PyramidOptions& options) {
  check(options);
  // OpenSlide reads all but JPEG and JPEG 2000 through libtiff's RGBA interface, which garbles images that are smaller
  // than one tile.
  const std::int64_t smallest = is_lossless(options.codec) ? options.tile_px : 1;
  const std::int64_t width = std::max(options.size.width, smallest), height = std::max(options.size.height, smallest);
  const auto side = [](std::int64_t px, int level) { return round_up(px, std::int64_t{1} << level) >> level; };
  int levels = 1;
  while (std::max(side(width, levels - 1), side(height, levels - 1)) > kLastLevelPx &&
         std::min(side(width, levels), side(height, levels)) >= smallest) {
    ++levels;
  }

  PyramidLayout layout;
  const std::int64_t grain = std::int64_t{1} << (levels - 1);
  layout.padded_size = {round_up(width, grain), round_up(height, grain)};
  for (int level = 0; level < levels; ++level) {
    layout.levels.push_back({layout.padded_size.width >> level, layout.padded_size.height >> level});
  }
  layout.blocks_x = static_cast<int>(round_up(layout.padded_size.width, options.block_px) / options.block_px);
  layout.blocks_y = static_cast<int>(round_up(layout.padded_size.height, options.block_px) / options.block_px);
  const int ratio = options.block_px / options.tile_px;
  layout.block_levels = std::min(levels, std::countr_zero(static_cast<unsigned>(ratio)) + 1);
  return layout;
}

}  // namespace vtissue::io
