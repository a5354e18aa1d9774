#include "io/tiff_levels.h"

#include <tiffio.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "io/tiff_tags.h"
#include "io/vips_runtime.h"

namespace vtissue::io {
namespace {

constexpr std::uint32_t kLargestTilePx = 4096;
constexpr std::uint16_t kNoCompression = 1, kAdobeDeflate = 8, kOldDeflate = 32946;
constexpr int kMostDirectories = 1000;

template <typename Value>
Value field(TIFF* tiff, std::uint32_t tag, Value otherwise) {
  Value value = otherwise;
  return TIFFGetFieldDefaulted(tiff, tag, &value) == 1 ? value : otherwise;
}

bool is_decodable(std::uint16_t compression, std::uint16_t photometric) {
  constexpr std::array kLossless = {kNoCompression, kTiffLzw, kAdobeDeflate, kOldDeflate, kTiffZstd};
  const bool is_rgb = photometric == PHOTOMETRIC_RGB, is_ycbcr = photometric == PHOTOMETRIC_YCBCR;
  if (compression == kTiffJpeg) return is_rgb || is_ycbcr;
  // Their photometric tag is not to be relied on: the compression says what the components are.
  if (compression == kTiffJpeg2000Rgb || compression == kTiffJpeg2000YCbCr) return is_rgb || is_ycbcr;
  return is_rgb && std::ranges::find(kLossless, compression) != kLossless.end() && TIFFIsCODECConfigured(compression);
}

/// The directory that `tiff` is at, if it is one of ours.
std::optional<TiffLevel> current_level(TIFF* tiff) {
  if (TIFFIsTiled(tiff) == 0) return std::nullopt;
  const auto width = field<std::uint32_t>(tiff, TIFFTAG_IMAGEWIDTH, 0);
  const auto height = field<std::uint32_t>(tiff, TIFFTAG_IMAGELENGTH, 0);
  const auto tile_width = field<std::uint32_t>(tiff, TIFFTAG_TILEWIDTH, 0);
  const auto tile_height = field<std::uint32_t>(tiff, TIFFTAG_TILELENGTH, 0);
  const auto compression = field<std::uint16_t>(tiff, TIFFTAG_COMPRESSION, 0);
  std::uint16_t photometric = 0;
  if (TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric) != 1) return std::nullopt;
  if (width == 0 || height == 0 || tile_width == 0 || tile_height == 0 || tile_width > kLargestTilePx ||
      tile_height > kLargestTilePx || field<std::uint16_t>(tiff, TIFFTAG_BITSPERSAMPLE, 0) != 8 ||
      field<std::uint16_t>(tiff, TIFFTAG_SAMPLESPERPIXEL, 0) != 3 ||
      field<std::uint16_t>(tiff, TIFFTAG_PLANARCONFIG, 0) != PLANARCONFIG_CONTIG ||
      field<std::uint16_t>(tiff, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT) != SAMPLEFORMAT_UINT ||
      !is_decodable(compression, photometric)) {
    return std::nullopt;
  }
  TiffLevel level;
  level.size = {width, height};
  level.tile_width = static_cast<int>(tile_width);
  level.tile_height = static_cast<int>(tile_height);
  level.tiles_x = (std::int64_t{width} + tile_width - 1) / tile_width;
  level.tiles_y = (std::int64_t{height} + tile_height - 1) / tile_height;
  level.compression = compression;
  const bool is_jpeg2000 = compression == kTiffJpeg2000Rgb || compression == kTiffJpeg2000YCbCr;
  level.is_ycbcr = is_jpeg2000 ? compression == kTiffJpeg2000YCbCr : photometric == PHOTOMETRIC_YCBCR;
  level.directory_offset = TIFFCurrentDirOffset(tiff);
  if (compression == kTiffJpeg) {
    std::uint32_t bytes = 0;
    const std::byte* tables = nullptr;
    if (TIFFGetField(tiff, TIFFTAG_JPEGTABLES, &bytes, &tables) == 1) level.jpeg_tables.assign(tables, tables + bytes);
  }
  const auto tiles = static_cast<std::size_t>(level.tiles_x * level.tiles_y);
  if (TIFFNumberOfTiles(tiff) != tiles) return std::nullopt;
  const std::uint64_t* offsets = nullptr;
  const std::uint64_t* counts = nullptr;
  if (TIFFGetField(tiff, TIFFTAG_TILEOFFSETS, &offsets) != 1 ||
      TIFFGetField(tiff, TIFFTAG_TILEBYTECOUNTS, &counts) != 1)
    return std::nullopt;
  // A tile without data means different things in different formats.
  if (std::any_of(counts, counts + tiles, [](std::uint64_t bytes) { return bytes == 0; })) return std::nullopt;
  level.tile_offsets.assign(offsets, offsets + tiles);
  level.tile_bytes.assign(counts, counts + tiles);
  return level;
}

}  // namespace

TiffLevels read_tiff_levels(const std::filesystem::path& path) {
  ensure_image_libraries();
  TiffLevels levels;
  const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(TIFFOpen(path.c_str(), "rm"), TIFFClose);
  if (tiff == nullptr) return levels;
  const char* description = nullptr;
  if (TIFFGetField(tiff.get(), TIFFTAG_IMAGEDESCRIPTION, &description) == 1) levels.description = description;
  std::uint32_t icc_bytes = 0;
  const std::byte* icc = nullptr;
  if (TIFFGetField(tiff.get(), TIFFTAG_ICCPROFILE, &icc_bytes, &icc) == 1)
    levels.icc_profile.assign(icc, icc + icc_bytes);
  std::vector<std::uint64_t> smaller;
  std::uint16_t subifds = 0;
  const std::uint64_t* subifd_offsets = nullptr;
  if (TIFFGetField(tiff.get(), TIFFTAG_SUBIFD, &subifds, &subifd_offsets) == 1)
    smaller.assign(subifd_offsets, subifd_offsets + subifds);
  levels.has_subifds = !smaller.empty();
  int directories = 0;
  do {
    auto level = current_level(tiff.get());
    if (directories == 0) levels.first_is_level = level.has_value();
    if (level) levels.chain.push_back(*std::move(level));
  } while (++directories < kMostDirectories && TIFFReadDirectory(tiff.get()) == 1);
  for (const std::uint64_t offset : smaller) {
    if (TIFFSetSubDirectory(tiff.get(), offset) != 1) break;
    if (auto level = current_level(tiff.get())) levels.subifds.push_back(*std::move(level));
  }
  return levels;
}

}  // namespace vtissue::io
