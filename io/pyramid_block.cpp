#include "io/pyramid_block.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "core/error.h"
#include "io/jpeg_tile.h"

namespace vtissue::io {
namespace {

constexpr std::uint64_t kPartMagic = 0x314b4c4254565456;  // "VTVTBLK1"
constexpr int kDeflateLevel = 6;

// A part is kPartMagic, the number of levels, for each level the number of tiles across, down and
// their lengths in bytes, all as 64-bit little-endian words; then the tiles, then the last level's
// pixels.

void append_word(std::vector<std::byte>& out, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<std::byte>(value >> (8 * i) & 255));
}

class PartReader {
 public:
  PartReader(std::span<const std::byte> bytes, int bx, int by) : rest_(bytes), bx_(bx), by_(by) {}

  std::uint64_t word() {
    const auto bytes = take(8);
    std::uint64_t value = 0;
    for (std::size_t i = 8; i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
    return value;
  }

  std::span<const std::byte> take(std::uint64_t bytes) {
    require(bytes <= rest_.size());
    const auto taken = rest_.first(bytes);
    rest_ = rest_.subspan(bytes);
    return taken;
  }

  void require_end() const { require(rest_.empty()); }

  void require(bool condition) const {
    if (!condition) {
      throw Error(ErrorCode::kOutput,
                  "pyramid block ({}, {}): not a part of this pyramid; run the step again with --overwrite", bx_, by_);
    }
  }

 private:
  std::span<const std::byte> rest_;
  int bx_, by_;
};

/// Size of a block on a level.
Size<TargetPx> block_size(const PyramidOptions& options, const PyramidLayout& layout, int bx, int by, int level) {
  const std::int64_t block = options.block_px;
  return {std::min(block, layout.padded_size.width - bx * block) >> level,
          std::min(block, layout.padded_size.height - by * block) >> level};
}

std::int64_t tiles_across(std::int64_t px, int tile_px) { return (px + tile_px - 1) / tile_px; }

/// The block's pixels inside the padded size; white beyond the content.
RgbImage content_of(const PyramidOptions& options, Size<TargetPx> size, int bx, int by,
                    std::span<const std::uint8_t> rgb) {
  RgbImage image{size, std::vector<std::uint8_t>(static_cast<std::size_t>(size.area()) * 3, 255)};
  const std::int64_t block = options.block_px;
  const std::int64_t width = std::min(size.width, options.size.width - bx * block);
  const std::int64_t height = std::min(size.height, options.size.height - by * block);
  if (width <= 0) return image;
  for (std::int64_t row = 0; row < height; ++row) {
    std::copy_n(rgb.data() + row * block * 3, width * 3, image.rgb.data() + row * size.width * 3);
  }
  return image;
}

std::vector<std::byte> deflate(std::span<const std::uint8_t> rgb) {
  uLongf bytes = compressBound(rgb.size());
  std::vector<std::byte> encoded(bytes);
  if (compress2(reinterpret_cast<Bytef*>(encoded.data()), &bytes, rgb.data(), rgb.size(), kDeflateLevel) != Z_OK) {
    throw Error(ErrorCode::kOutput, "zlib cannot compress {} bytes", rgb.size());
  }
  encoded.resize(bytes);
  return encoded;
}

}  // namespace

std::vector<std::byte> encode_pixels(PyramidCodec codec, int jpeg_quality, std::span<const std::uint8_t> rgb, int width,
                                     int height) {
  return codec == PyramidCodec::kJpeg ? encode_jpeg_tile(rgb, width, height, jpeg_quality) : deflate(rgb);
}

std::vector<std::byte> encode_tile(const PyramidOptions& options, const RgbImage& image, std::int64_t tx,
                                   std::int64_t ty) {
  const std::int64_t tile = options.tile_px, width = image.size.width, height = image.size.height;
  const std::int64_t columns = std::min(tile, width - tx * tile);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(tile * tile) * 3);
  for (std::int64_t row = 0; row < tile; ++row) {
    const std::int64_t from = std::min(ty * tile + row, height - 1);
    std::uint8_t* const out = pixels.data() + row * tile * 3;
    std::copy_n(image.rgb.data() + (from * width + tx * tile) * 3, columns * 3, out);
    for (std::int64_t column = columns; column < tile; ++column)
      std::copy_n(out + (columns - 1) * 3, 3, out + column * 3);
  }
  return encode_pixels(options.codec, options.jpeg_quality, pixels, options.tile_px, options.tile_px);
}

RgbImage halved(const RgbImage& image) {
  const std::int64_t width = image.size.width / 2, height = image.size.height / 2;
  RgbImage half{{width, height}, std::vector<std::uint8_t>(static_cast<std::size_t>(width * height) * 3)};
  std::uint8_t* out = half.rgb.data();
  for (std::int64_t y = 0; y < height; ++y) {
    const std::uint8_t* upper = image.rgb.data() + 2 * y * image.size.width * 3;
    const std::uint8_t* lower = upper + image.size.width * 3;
    for (std::int64_t x = 0; x < width; ++x, upper += 6, lower += 6) {
      for (int c = 0; c < 3; ++c)
        *out++ = static_cast<std::uint8_t>((upper[c] + upper[c + 3] + lower[c] + lower[c + 3] + 2) >> 2);
    }
  }
  return half;
}

std::vector<std::byte> encode_block(const PyramidOptions& options, int bx, int by, std::span<const std::uint8_t> rgb,
                                    const LevelDecorator& decorate) {
  const PyramidLayout layout = layout_of(options);
  const auto block = static_cast<std::size_t>(options.block_px);
  if (bx < 0 || by < 0 || bx >= layout.blocks_x || by >= layout.blocks_y || rgb.size() != block * block * 3) {
    throw std::invalid_argument(fmt::format("encode_block: block ({}, {}) with {} bytes", bx, by, rgb.size()));
  }
  std::vector<std::byte> part, tiles;
  append_word(part, kPartMagic);
  append_word(part, static_cast<std::uint64_t>(layout.block_levels));
  RgbImage image = content_of(options, block_size(options, layout, bx, by, 0), bx, by, rgb);
  for (int level = 0; level < layout.block_levels; ++level) {
    if (level > 0) image = halved(image);
    RgbImage drawn = image;
    const std::int64_t level_block = options.block_px >> level;
    if (decorate) decorate(level, {bx * level_block, by * level_block}, drawn);
    const std::int64_t across = tiles_across(image.size.width, options.tile_px);
    const std::int64_t down = tiles_across(image.size.height, options.tile_px);
    append_word(part, static_cast<std::uint64_t>(across));
    append_word(part, static_cast<std::uint64_t>(down));
    for (std::int64_t ty = 0; ty < down; ++ty) {
      for (std::int64_t tx = 0; tx < across; ++tx) {
        const std::vector<std::byte> tile = encode_tile(options, drawn, tx, ty);
        append_word(part, tile.size());
        tiles.insert(tiles.end(), tile.begin(), tile.end());
      }
    }
  }
  part.insert(part.end(), tiles.begin(), tiles.end());
  const auto last = std::as_bytes(std::span(image.rgb));
  part.insert(part.end(), last.begin(), last.end());
  return part;
}

BlockPart parse_block(const PyramidOptions& options, int bx, int by, std::span<const std::byte> bytes) {
  const PyramidLayout layout = layout_of(options);
  PartReader reader(bytes, bx, by);
  reader.require(reader.word() == kPartMagic);
  reader.require(reader.word() == static_cast<std::uint64_t>(layout.block_levels));
  BlockPart part;
  std::vector<std::uint64_t> lengths;
  for (int level = 0; level < layout.block_levels; ++level) {
    const Size<TargetPx> size = block_size(options, layout, bx, by, level);
    BlockPart::Level& read = part.levels.emplace_back();
    read.tiles_x = tiles_across(size.width, options.tile_px);
    read.tiles_y = tiles_across(size.height, options.tile_px);
    reader.require(reader.word() == static_cast<std::uint64_t>(read.tiles_x));
    reader.require(reader.word() == static_cast<std::uint64_t>(read.tiles_y));
    for (std::int64_t i = 0; i < read.tiles_x * read.tiles_y; ++i) lengths.push_back(reader.word());
  }
  std::size_t next = 0;
  for (BlockPart::Level& level : part.levels) {
    for (std::int64_t i = 0; i < level.tiles_x * level.tiles_y; ++i)
      level.tiles.push_back(reader.take(lengths[next++]));
  }
  part.last.size = block_size(options, layout, bx, by, layout.block_levels - 1);
  const auto pixels = reader.take(static_cast<std::uint64_t>(part.last.size.area()) * 3);
  part.last.rgb.resize(pixels.size());
  std::memcpy(part.last.rgb.data(), pixels.data(), pixels.size());
  reader.require_end();
  return part;
}

}  // namespace vtissue::io
