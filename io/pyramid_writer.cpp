#include "io/pyramid_writer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "io/bigtiff_writer.h"
#include "io/jpeg_tile.h"
#include "io/pyramid_block.h"
#include "io/pyramid_metadata.h"

namespace vtissue::io {
namespace {

enum Tag : std::uint16_t {
  kNewSubfileType = 254,
  kImageWidth = 256,
  kImageLength = 257,
  kBitsPerSample = 258,
  kCompression = 259,
  kPhotometric = 262,
  kImageDescription = 270,
  kStripOffsets = 273,
  kOrientation = 274,
  kSamplesPerPixel = 277,
  kRowsPerStrip = 278,
  kStripByteCounts = 279,
  kXResolution = 282,
  kYResolution = 283,
  kPlanarConfiguration = 284,
  kResolutionUnit = 296,
  kSoftware = 305,
  kTileWidth = 322,
  kTileLength = 323,
  kTileOffsets = 324,
  kTileByteCounts = 325,
  kJpegTables = 347,
  kYCbCrSubsampling = 530,
  kReferenceBlackWhite = 532,
  kXmp = 700,
};

constexpr std::uint16_t kCompressionJpeg = 7, kCompressionDeflate = 8;
constexpr std::uint16_t kPhotometricRgb = 2, kPhotometricYCbCr = 6;
constexpr std::uint16_t kUnitCentimetre = 3;
constexpr std::uint32_t kSubfileLevel = 0, kSubfileLabel = 1, kSubfileMacro = 9;

/// Where the tiles of a level are.
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

/// The levels above the blocks' own. Rows come in from the blocks' last level; a level passes a row of
/// tiles on, halved, as soon as it has one.
class Cascade {
 public:
  Cascade(const PyramidOptions& options, const PyramidLayout& layout, const LevelDecorator& decorate,
          std::vector<LevelTiles>& tiles, BigTiffWriter& file)
      : options_(options),
        layout_(layout),
        decorate_(decorate),
        tiles_(tiles),
        file_(file),
        strips_(layout.levels.size()) {
    for (std::size_t level = 0; level < strips_.size(); ++level)
      strips_[level].rows.size.width = layout.levels[level].width;
    thumbnail_.size.width = layout.levels.back().width;
  }

  /// Rows [h, width of the level, 3] below those given before.
  void push(int level, const RgbImage& rows) {
    Strip& strip = strips_[static_cast<std::size_t>(level)];
    const std::int64_t row_bytes = rows.size.width * 3;
    for (std::int64_t row = 0; row < rows.size.height; ++row) {
      const auto* const from = rows.rgb.data() + row * row_bytes;
      strip.rows.rgb.insert(strip.rows.rgb.end(), from, from + row_bytes);
      ++strip.rows.size.height;
      const bool last_row =
          strip.top + strip.rows.size.height == layout_.levels[static_cast<std::size_t>(level)].height;
      if (strip.rows.size.height == options_.tile_px || last_row) pass_on(level, strip);
    }
  }

  /// The smallest level as drawn; whole once all rows came in.
  const RgbImage& thumbnail() const { return thumbnail_; }

 private:
  struct Strip {
    std::int64_t top = 0;
    RgbImage rows;
  };

  void pass_on(int level, Strip& strip) {
    const bool is_last = static_cast<std::size_t>(level) + 1 == strips_.size();
    if (level >= layout_.block_levels || is_last) {
      RgbImage drawn = strip.rows;
      if (decorate_) decorate_(level, {0, strip.top}, drawn);
      if (level >= layout_.block_levels) write_tiles(level, strip.top / options_.tile_px, drawn);
      if (is_last) {
        thumbnail_.rgb.insert(thumbnail_.rgb.end(), drawn.rgb.begin(), drawn.rgb.end());
        thumbnail_.size.height += drawn.size.height;
      }
    }
    if (!is_last) push(level + 1, halved(strip.rows));
    strip.top += strip.rows.size.height;
    strip.rows.size.height = 0;
    strip.rows.rgb.clear();
  }

  void write_tiles(int level, std::int64_t ty, const RgbImage& drawn) {
    LevelTiles& tiles = tiles_[static_cast<std::size_t>(level)];
    for (std::int64_t tx = 0; tx < tiles.across; ++tx)
      tiles.set(tx, ty, file_.append(encode_tile(options_, drawn, tx, 0)));
  }

  const PyramidOptions& options_;
  const PyramidLayout& layout_;
  const LevelDecorator& decorate_;
  std::vector<LevelTiles>& tiles_;
  BigTiffWriter& file_;
  std::vector<Strip> strips_;
  RgbImage thumbnail_;
};

/// Fields that levels and associated images share.
TiffDirectory picture_fields(Size<TargetPx> size, PyramidCodec codec, int jpeg_quality) {
  TiffDirectory directory;
  directory.set_long(kImageWidth, static_cast<std::uint32_t>(size.width));
  directory.set_long(kImageLength, static_cast<std::uint32_t>(size.height));
  directory.set_short(kBitsPerSample, std::array<std::uint16_t, 3>{8, 8, 8});
  directory.set_short(kOrientation, 1);
  directory.set_short(kSamplesPerPixel, 3);
  directory.set_short(kPlanarConfiguration, 1);
  if (codec == PyramidCodec::kJpeg) {
    directory.set_short(kCompression, kCompressionJpeg);
    directory.set_short(kPhotometric, kPhotometricYCbCr);
    directory.set_bytes(kJpegTables, TiffDirectory::Type::kUndefined, jpeg_tables(jpeg_quality));
    directory.set_short(kYCbCrSubsampling, std::array<std::uint16_t, 2>{1, 1});
    directory.set_rational(kReferenceBlackWhite,
                           std::array<std::uint32_t, 12>{0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1});
  } else {
    directory.set_short(kCompression, kCompressionDeflate);
    directory.set_short(kPhotometric, kPhotometricRgb);
  }
  return directory;
}

TiffDirectory level_directory(const PyramidOptions& options, int level, Size<LevelPx> size, const LevelTiles& tiles,
                              const std::string& description) {
  TiffDirectory directory = picture_fields({size.width, size.height}, options.codec, options.jpeg_quality);
  const double pixels_per_cm = 10000 / (options.mpp * std::ldexp(1.0, level));
  const std::array<std::uint32_t, 2> resolution{static_cast<std::uint32_t>(std::lround(pixels_per_cm * 1000)), 1000};
  directory.set_long(kNewSubfileType, kSubfileLevel);
  directory.set_ascii(kImageDescription, description);
  directory.set_rational(kXResolution, resolution);
  directory.set_rational(kYResolution, resolution);
  directory.set_short(kResolutionUnit, kUnitCentimetre);
  directory.set_ascii(kSoftware, options.software);
  directory.set_long(kTileWidth, static_cast<std::uint32_t>(options.tile_px));
  directory.set_long(kTileLength, static_cast<std::uint32_t>(options.tile_px));
  directory.set_long8(kTileOffsets, tiles.offsets);
  directory.set_long8(kTileByteCounts, tiles.byte_counts);
  return directory;
}

/// An image of one strip: OpenSlide takes what is not tiled for an associated image.
TiffDirectory associated_directory(const PyramidOptions& options, PyramidCodec codec, const RgbImage& image,
                                   std::uint32_t subfile_type, const std::string& description, BigTiffWriter& file) {
  TiffDirectory directory = picture_fields(image.size, codec, options.jpeg_quality);
  const BigTiffWriter::Extent extent = file.append(encode_pixels(
      codec, options.jpeg_quality, image.rgb, static_cast<int>(image.size.width), static_cast<int>(image.size.height)));
  directory.set_long(kNewSubfileType, subfile_type);
  directory.set_ascii(kImageDescription, description);
  directory.set_ascii(kSoftware, options.software);
  directory.set_long(kRowsPerStrip, static_cast<std::uint32_t>(image.size.height));
  directory.set_long8(kStripOffsets, std::array{extent.offset});
  directory.set_long8(kStripByteCounts, std::array{extent.bytes});
  return directory;
}

/// Copies a block's last level into the row of blocks.
void place(const RgbImage& block, std::int64_t left, RgbImage& row) {
  for (std::int64_t y = 0; y < block.size.height; ++y) {
    std::copy_n(block.rgb.data() + y * block.size.width * 3, block.size.width * 3,
                row.rgb.data() + (y * row.size.width + left) * 3);
  }
}

}  // namespace

void write_pyramid(const std::filesystem::path& path, const PyramidOptions& options,
                   const std::function<std::vector<std::byte>(int bx, int by)>& part, const RgbImage& label,
                   const RgbImage& macro, const LevelDecorator& decorate) {
  const PyramidLayout layout = layout_of(options);
  BigTiffWriter file(path);
  std::vector<LevelTiles> tiles;
  for (const Size<LevelPx> size : layout.levels) tiles.emplace_back(size, options.tile_px);
  Cascade cascade(options, layout, decorate, tiles, file);

  const int last_level = layout.block_levels - 1;
  for (int by = 0; by < layout.blocks_y; ++by) {
    RgbImage row;
    for (int bx = 0; bx < layout.blocks_x; ++bx) {
      const std::vector<std::byte> bytes = part(bx, by);
      const BlockPart block = parse_block(options, bx, by, bytes);
      for (std::size_t level = 0; level < block.levels.size(); ++level) {
        const BlockPart::Level& encoded = block.levels[level];
        const std::int64_t block_tiles = (options.block_px >> level) / options.tile_px;
        for (std::size_t i = 0; i < encoded.tiles.size(); ++i) {
          const auto index = static_cast<std::int64_t>(i);
          tiles[level].set(bx * block_tiles + index % encoded.tiles_x, by * block_tiles + index / encoded.tiles_x,
                           file.append(encoded.tiles[i]));
        }
      }
      if (bx == 0) {
        row.size = {layout.levels[static_cast<std::size_t>(last_level)].width, block.last.size.height};
        row.rgb.resize(static_cast<std::size_t>(row.size.area()) * 3);
      }
      place(block.last, std::int64_t{bx} * (options.block_px >> last_level), row);
    }
    cascade.push(last_level, row);
  }

  const std::string description = pyramid_description(options);
  std::vector<TiffDirectory> directories;
  for (std::size_t level = 0; level < layout.levels.size(); ++level) {
    directories.push_back(
        level_directory(options, static_cast<int>(level), layout.levels[level], tiles[level], description));
    if (level != 0) continue;
    if (!options.provenance_json.empty()) {
      const std::string packet = provenance_packet(options.provenance_json);
      directories.back().set_bytes(kXmp, TiffDirectory::Type::kByte, std::as_bytes(std::span(packet)));
    }
    // Readers of this profile take the second directory for the thumbnail, whatever it is.
    directories.push_back(
        associated_directory(options, options.codec, cascade.thumbnail(), kSubfileLevel, description, file));
  }
  if (!label.size.empty()) {  // text stays sharp
    directories.push_back(associated_directory(options, PyramidCodec::kDeflate, label, kSubfileLabel,
                                               associated_description("label", label.size), file));
  }
  if (!macro.size.empty()) {
    directories.push_back(associated_directory(options, options.codec, macro, kSubfileMacro,
                                               associated_description("macro", macro.size), file));
  }
  file.finish(directories);
}

}  // namespace vtissue::io
