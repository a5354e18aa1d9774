#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/units.h"

namespace vtissue::io {

/// A tiled image of a TIFF: RGB8, the samples of a pixel side by side.
struct TiffLevel {
  Size<LevelPx> size;
  int tile_width = 0, tile_height = 0;
  std::int64_t tiles_x = 0, tiles_y = 0;
  std::uint16_t compression = 0;
  bool is_ycbcr = false;               ///< TIFF's PhotometricInterpretation
  std::uint64_t directory_offset = 0;  ///< of its directory in the file
  std::vector<std::byte> jpeg_tables;
  std::vector<std::uint64_t> tile_offsets, tile_bytes;  ///< row-major
};

/// What of a TIFF can be decoded tile by tile without OpenSlide: JPEG, JPEG 2000 as Aperio marks it, and libtiff's
/// lossless codecs, every tile with data. Images of another kind (other samples, planes, tiles that were left out) are
/// not in it.
struct TiffLevels {
  std::vector<TiffLevel> chain;    ///< of the main chain, in its order
  std::vector<TiffLevel> subifds;  ///< of the first directory's SubIFDs, in their order
  bool has_subifds = false;
  bool first_is_level = false;         ///< the first directory is chain.front()
  std::string description;             ///< of the first directory
  std::vector<std::byte> icc_profile;  ///< of the first directory
};

/// Empty if the file is no TIFF. Never throws for a file that is damaged: others say so better.
TiffLevels read_tiff_levels(const std::filesystem::path& path);

}  // namespace vtissue::io
