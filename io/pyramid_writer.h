#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/units.h"
#include "io/jpeg_tile.h"
#include "io/pixel_rows.h"

namespace vtissue::io {

/// What readers take the file for (formats.md 2.2).
enum class PyramidProfile {
  kSvs,      ///< A: levels, thumbnail, label and macro as in Aperio's files; the one whose µm/px OpenSlide 3.4.1 reads
  kGeneric,  ///< B: nothing but levels, reduced ones marked as such
  kOme,      ///< C: OME-TIFF, smaller levels in SubIFDs, label and macro as images of their own
};

enum class PyramidCodec { kJpeg, kJpeg2000, kLzw, kDeflate, kZstd };
/// LZW, deflate and zstd, which keep every bit.
constexpr bool is_lossless(PyramidCodec codec) { return codec > PyramidCodec::kJpeg2000; }

struct PyramidOptions {
  Size<TargetPx> size;  ///< level 0 of the content; padded with white to a multiple of 2^(levels-1)
  double mpp = 0;       ///< µm/px of level 0
  PyramidProfile profile = PyramidProfile::kSvs;
  PyramidCodec codec = PyramidCodec::kJpeg;  ///< not kJpeg2000 with kGeneric: OpenSlide could not open it
  int quality = 90;                          ///< 1..100, of JPEG; of JPEG 2000: 30 + quality / 5 dB, lossless at 100
  ChromaSampling sampling = ChromaSampling::k444;  ///< of JPEG
  int tile_px = 256;                               ///< a power of two, at least 16
  int block_px = 2048;                             ///< unit of encode_block(); a power of two, at least tile_px
  std::string software = "vtissue";                ///< TIFF's Software tag and `Generator` of the description
  std::string description;      ///< further "Key = value" items of the ImageDescription, '|'-separated
  std::string provenance_json;  ///< stored whole, UTF-8; read_provenance() of io/pyramid_metadata.h gives it back
  std::vector<std::byte> icc_profile;  ///< of all pictures; empty: none
};

/// How a pyramid's JPEG is made. OME-TIFF with colour at every pixel has RGB in it: Bio-Formats, and so QuPath,
/// converts YCbCr of that sampling twice.
JpegSettings jpeg_settings_of(const PyramidOptions& options);

struct RgbImage {
  Size<TargetPx> size;
  std::vector<std::uint8_t> rgb;  ///< [h, w, 3]
};

/// Geometry of a pyramid, the same for every run: number of levels and their sizes. Levels are added
/// until both sides are at most 512 px; with a lossless codec no level is smaller than a tile (OpenSlide 3.4.1
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
/// The same of pixels that are somewhere in memory: the block's part of the content, which may be less than block_px on
/// the right and at the bottom.
std::vector<std::byte> encode_block(const PyramidOptions& options, int bx, int by, const PixelRows& pixels,
                                    const LevelDecorator& decorate = {});

/// Lays out the file of the profile from the parts in canonical order: levels, and where the profile has a place for
/// them the thumbnail (the smallest level), label and macro images (left out where empty). `part(bx, by)` gives
/// encode_block()'s bytes and is asked once for each block, row by row. Tiles that repeat, as those without tissue do,
/// are stored once and pointed at from each place; none is empty, since many readers fail on such. Memory: one row of
/// tiles for each level above the blocks' own. The bytes depend on the arguments alone. What is on the disk is read
/// back and compared with what was written, and each level's corners are decoded, before it returns. Throws Error
/// kOutput; then no file is left at `path`.
void write_pyramid(const std::filesystem::path& path, const PyramidOptions& options,
                   const std::function<std::vector<std::byte>(int bx, int by)>& part, const RgbImage& label,
                   const RgbImage& macro, const LevelDecorator& decorate = {});

/// The pixels of `box`, which lies inside the content, as rows in `scratch` or elsewhere; asked from several threads.
using BlockPixels = std::function<PixelRows(Box<TargetPx> box, std::vector<std::uint8_t>& scratch)>;

/// The same file from pixels that need no committing, its blocks encoded by `threads` threads, at most twice as many of
/// them at a time in memory. The first failure of `pixels` or of the encoding is thrown again.
void write_pyramid(const std::filesystem::path& path, const PyramidOptions& options, const BlockPixels& pixels,
                   int threads, const RgbImage& label = {}, const RgbImage& macro = {},
                   const LevelDecorator& decorate = {});

}  // namespace vtissue::io
