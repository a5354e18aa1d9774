#include "io/pyramid_block.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "core/error.h"
#include "io/box_halve.h"
#include "io/tile_encoder.h"

namespace vtissue::io {
namespace {

constexpr std::uint64_t kPartMagic = 0x314b4c4254565456;  // "VTVTBLK1"

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

PixelRows rows_of(const RgbImage& image) {
  return {image.rgb.data(), image.size.width, image.size.height, image.size.width * 3};
}

/// The block's part of the content.
Size<TargetPx> content_size(const PyramidOptions& options, int bx, int by) {
  const std::int64_t block = options.block_px;
  return {std::clamp<std::int64_t>(options.size.width - bx * block, 0, block),
          std::clamp<std::int64_t>(options.size.height - by * block, 0, block)};
}

/// Pixels of a block inside the padded size; white beyond the content.
void pad_with_white(const PixelRows& content, Size<TargetPx> size, RgbImage& image) {
  image.size = size;
  image.rgb.assign(static_cast<std::size_t>(size.area()) * 3, 255);
  for (std::int64_t row = 0; row < content.height; ++row)
    std::copy_n(content.at(0, row), content.width * 3, image.rgb.data() + row * size.width * 3);
}

void put_word(std::uint64_t value, std::byte* out) {
  for (int i = 0; i < 8; ++i) out[i] = static_cast<std::byte>(value >> (8 * i) & 255);
}

}  // namespace

std::vector<std::byte> encode_block(const PyramidOptions& options, int bx, int by, std::span<const std::uint8_t> rgb,
                                    const LevelDecorator& decorate) {
  const std::int64_t block = options.block_px;
  if (rgb.size() != static_cast<std::size_t>(block * block) * 3)
    throw std::invalid_argument(fmt::format("encode_block: block ({}, {}) with {} bytes", bx, by, rgb.size()));
  const Size<TargetPx> content = content_size(options, bx, by);
  return encode_block(options, bx, by, PixelRows{rgb.data(), content.width, content.height, block * 3}, decorate);
}

std::vector<std::byte> encode_block(const PyramidOptions& options, int bx, int by, const PixelRows& pixels,
                                    const LevelDecorator& decorate) {
  return BlockEncoder(options).encode(bx, by, pixels, decorate);
}

BlockEncoder::BlockEncoder(const PyramidOptions& options)
    : options_(options), layout_(layout_of(options)), encoder_(options) {}

std::vector<std::byte> BlockEncoder::encode(int bx, int by, const PixelRows& pixels, const LevelDecorator& decorate) {
  const Size<TargetPx> content = content_size(options_, bx, by);
  if (bx < 0 || by < 0 || bx >= layout_.blocks_x || by >= layout_.blocks_y || pixels.width != content.width ||
      pixels.height != content.height) {
    throw std::invalid_argument(
        fmt::format("encode_block: block ({}, {}) of {} x {} px", bx, by, pixels.width, pixels.height));
  }
  std::vector<std::byte> part;
  part.reserve(usual_bytes_ + usual_bytes_ / 4);
  append_word(part, kPartMagic);
  append_word(part, static_cast<std::uint64_t>(layout_.block_levels));
  head_ = part.size();
  // Room for the levels' words, which stand before the tiles.
  std::size_t words = 0;
  for (int level = 0; level < layout_.block_levels; ++level) {
    const Size<TargetPx> size = block_size(options_, layout_, bx, by, level);
    words += 2 + static_cast<std::size_t>(tiles_across(size.width, options_.tile_px) *
                                          tiles_across(size.height, options_.tile_px));
  }
  part.resize(part.size() + 8 * words);
  const Size<TargetPx> size = block_size(options_, layout_, bx, by, 0);
  PixelRows level_pixels = pixels;
  if (size != content) {
    pad_with_white(pixels, size, padded_);
    level_pixels = rows_of(padded_);
  }
  for (int level = 0; level < layout_.block_levels; ++level) {
    RgbImage* const half = level + 1 < layout_.block_levels ? &halves_[level % 2] : nullptr;
    if (decorate) {
      pad_with_white(level_pixels, {level_pixels.width, level_pixels.height}, drawn_);
      const std::int64_t level_block = options_.block_px >> level;
      decorate(level, {bx * level_block, by * level_block}, drawn_);
      encode_level(rows_of(drawn_), level_pixels, half, part);
    } else {
      encode_level(level_pixels, level_pixels, half, part);
    }
    if (half != nullptr) level_pixels = rows_of(*half);
  }
  for (std::int64_t row = 0; row < level_pixels.height; ++row) {
    const auto bytes =
        std::as_bytes(std::span(level_pixels.at(0, row), static_cast<std::size_t>(level_pixels.width) * 3));
    part.insert(part.end(), bytes.begin(), bytes.end());
  }
  usual_bytes_ = part.size();
  return part;
}

/// Tiles to the part's end, their number and lengths to its head. The next level is made a row of tiles at a time,
/// while they are in the processor's cache.
void BlockEncoder::encode_level(const PixelRows& pixels, const PixelRows& undrawn, RgbImage* half,
                                std::vector<std::byte>& part) {
  const std::int64_t tile_px = options_.tile_px;
  const std::int64_t across = tiles_across(pixels.width, options_.tile_px);
  const std::int64_t down = tiles_across(pixels.height, options_.tile_px);
  const auto put = [&](std::uint64_t word) {
    put_word(word, part.data() + head_);
    head_ += 8;
  };
  put(static_cast<std::uint64_t>(across));
  put(static_cast<std::uint64_t>(down));
  if (half != nullptr) {
    half->size = {undrawn.width / 2, undrawn.height / 2};
    half->rgb.resize(static_cast<std::size_t>(half->size.area()) * 3);
  }
  for (std::int64_t ty = 0; ty < down; ++ty) {
    for (std::int64_t tx = 0; tx < across; ++tx) {
      const auto tile = encoder_.encode_tile(pixels, tx * tile_px, ty * tile_px, options_.tile_px);
      put(tile.size());
      part.insert(part.end(), tile.begin(), tile.end());
    }
    if (half != nullptr) {
      halve_rows(undrawn, ty * tile_px / 2, std::min((ty + 1) * tile_px, undrawn.height) / 2, *half);
    }
  }
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
