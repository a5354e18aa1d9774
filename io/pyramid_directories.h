#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/bigtiff_writer.h"
#include "io/pyramid_writer.h"

namespace vtissue::io {

/// Where the tiles of a level are, row-major.
struct LevelTiles {
  LevelTiles(Size<LevelPx> size, int tile_px) : across((size.width + tile_px - 1) / tile_px) {
    const auto count = static_cast<std::size_t>(across * ((size.height + tile_px - 1) / tile_px));
    offsets.resize(count);
    byte_counts.resize(count);
  }

  void set(std::int64_t tx, std::int64_t ty, BigTiffWriter::Extent extent) {
    const auto index = static_cast<std::size_t>(ty * across + tx);
    offsets[index] = extent.offset;
    byte_counts[index] = extent.bytes;
  }

  std::int64_t across;
  std::vector<std::uint64_t> offsets, byte_counts;
};

/// Pictures besides the levels; those without pixels are left out.
struct PyramidPictures {
  const RgbImage& thumbnail;
  const RgbImage& label;
  const RgbImage& macro;
};

/// The directories of the options' profile, in the order of the file's chain; pictures and SubIFDs are appended to the
/// file. Throws Error kOutput.
std::vector<TiffDirectory> pyramid_directories(const PyramidOptions& options, const std::vector<LevelTiles>& tiles,
                                               const PyramidPictures& pictures, BigTiffWriter& file);

}  // namespace vtissue::io
