#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/units.h"

namespace vtissue::io {

enum class PyramidCodec { kJpeg, kDeflate };

struct PyramidOptions {
  Size<TargetPx> size;  ///< level 0 of the content; padded with white to a multiple of 2^(levels-1)
  double mpp = 0;       ///< µm/px of level 0
  PyramidCodec codec = PyramidCodec::kJpeg;
  int jpeg_quality = 90;             ///< 1..100; 4:4:4
  int tile_px = 256;                 ///< a power of two, at least 16
  int block_px = 2048;               ///< unit of encode_block(); a power of two, at least tile_px
  std::string software = "vtissue";  ///< TIFF's Software tag and `Generator` of the description
  std::string description;           ///< further "Key = value" items of the ImageDescription, '|'-separated
  std::string provenance_json;       ///< stored whole, UTF-8; read_provenance() of io/pyramid_metadata.h gives it back
};

struct RgbImage {
  Size<TargetPx> size;
  std::vector<std::uint8_t> rgb;  ///< [h, w, 3]
};

/// Geometry of a pyramid, the same for every run: number of levels and their sizes. Levels are added
/// until both sides are at most 512 px; with kDeflate no level is smaller than a tile (OpenSlide 3.4.1
/// misreads such), for which the size is padded too.
struct PyramidLayout {
  Size<TargetPx> padded_size;
  std::vector<Size<LevelPx>> levels;  ///< [0] = padded_size; each exactly half of the one above
  int blocks_x = 0, blocks_y = 0;
  int block_levels = 0;  ///< levels that a block makes by itself: log2(block_px / tile_px) + 1, at most all
};
/// Throws Error kUsage if an option is out of its range.
PyramidLayout layout_of(const PyramidOptions& options);

/// Called with a level's pixels before they are encoded; may draw on them (the SYNTHETIC mark).
/// `origin` is in pixels of that level. Must be a pure function of its arguments. Levels below are
/// averaged from the undrawn pixels.
using LevelDecorator = std::function<void(int level, Point<LevelPx> origin, RgbImage& pixels)>;

/// Encodes block (bx, by) of level 0 [block_px, block_px, 3] (the part inside options.size counts, what
/// is beyond becomes white): the tiles of its levels and the pixels that the higher levels are made
/// from, as one self-contained part to be committed. A level is the 2 x 2 box mean of the one above.
/// Pure: thread-safe. Throws std::invalid_argument if there is no such block or `rgb` has another size.
std::vector<std::byte> encode_block(const PyramidOptions& options, int bx, int by, std::span<const std::uint8_t> rgb,
                                    const LevelDecorator& decorate = {});

/// Lays out the file of profile A (formats.md 2.2) from the parts in canonical order: levels,
/// thumbnail (the smallest level), label and macro images (left out where empty). `part(bx, by)` gives
/// encode_block()'s bytes and is asked once for each block, row by row. Memory: one row of tiles for
/// each level above the blocks' own. The bytes depend on the arguments alone. Throws Error kOutput; then
/// no file is left at `path`.
void write_pyramid(const std::filesystem::path& path, const PyramidOptions& options,
                   const std::function<std::vector<std::byte>(int bx, int by)>& part, const RgbImage& label,
                   const RgbImage& macro, const LevelDecorator& decorate = {});

}  // namespace vtissue::io
