#include "io/pyramid_writer.h"

#include <algorithm>
#include <system_error>
#include <unordered_map>

#include "core/hash.h"
#include "io/bigtiff_writer.h"
#include "io/box_halve.h"
#include "io/pyramid_block.h"
#include "io/pyramid_check.h"
#include "io/pyramid_directories.h"
#include "io/tile_encoder.h"

namespace vtissue::io {
namespace {

constexpr std::size_t kLargestShared = 32 << 10;  // bytes of a tile: background compresses well
constexpr std::size_t kSharedBytes = 8 << 20;     // of all tiles that are remembered

/// Appends tiles, each content once. Only the first tiles up to a limit are remembered, so that memory is bounded and
/// the file a function of its tiles.
class TileStore {
 public:
  explicit TileStore(BigTiffWriter& file) : file_(file) {}

  BigTiffWriter::Extent append(std::span<const std::byte> tile) {
    if (tile.size() > kLargestShared) return file_.append(tile);
    const std::uint64_t key = checksum64(tile);
    const auto [first, last] = known_.equal_range(key);
    for (auto known = first; known != last; ++known) {
      if (std::ranges::equal(known->second.content, tile)) return known->second.extent;
    }
    const BigTiffWriter::Extent extent = file_.append(tile);
    if (bytes_ + tile.size() <= kSharedBytes) {
      bytes_ += tile.size();
      known_.emplace(key, Known{{tile.begin(), tile.end()}, extent});
    }
    return extent;
  }

 private:
  struct Known {
    std::vector<std::byte> content;
    BigTiffWriter::Extent extent;
  };

  BigTiffWriter& file_;
  std::unordered_multimap<std::uint64_t, Known> known_;  // by checksum
  std::size_t bytes_ = 0;
};

/// The levels above the blocks' own. Rows come in from the blocks' last level; a level passes a row of
/// tiles on, halved, as soon as it has one.
class Cascade {
 public:
  Cascade(const PyramidOptions& options, const PyramidLayout& layout, const LevelDecorator& decorate,
          std::vector<LevelTiles>& tiles, TileStore& store)
      : options_(options),
        layout_(layout),
        decorate_(decorate),
        tiles_(tiles),
        store_(store),
        encoder_(options),
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
    const PixelRows rows{drawn.rgb.data(), drawn.size.width, drawn.size.height, drawn.size.width * 3};
    for (std::int64_t tx = 0; tx < tiles.across; ++tx)
      tiles.set(tx, ty, store_.append(encoder_.encode_tile(rows, tx * options_.tile_px, 0, options_.tile_px)));
  }

  const PyramidOptions& options_;
  const PyramidLayout& layout_;
  const LevelDecorator& decorate_;
  std::vector<LevelTiles>& tiles_;
  TileStore& store_;
  TileEncoder encoder_;
  std::vector<Strip> strips_;
  RgbImage thumbnail_;
};

/// Copies a block's last level into the row of blocks.
void place(const RgbImage& block, std::int64_t left, RgbImage& row) {
  for (std::int64_t y = 0; y < block.size.height; ++y) {
    std::copy_n(block.rgb.data() + y * block.size.width * 3, block.size.width * 3,
                row.rgb.data() + (y * row.size.width + left) * 3);
  }
}

/// Writes tiles and directories.
void lay_out(BigTiffWriter& file, const PyramidOptions& options,
             const std::function<std::vector<std::byte>(int bx, int by)>& part, const RgbImage& label,
             const RgbImage& macro, const LevelDecorator& decorate) {
  const PyramidLayout layout = layout_of(options);
  TileStore store(file);
  std::vector<LevelTiles> tiles;
  for (const Size<LevelPx> size : layout.levels) tiles.emplace_back(size, options.tile_px);
  Cascade cascade(options, layout, decorate, tiles, store);

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
                           store.append(encoded.tiles[i]));
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
  file.finish(pyramid_directories(options, tiles, {cascade.thumbnail(), label, macro}, file));
}

}  // namespace

void write_pyramid(const std::filesystem::path& path, const PyramidOptions& options,
                   const std::function<std::vector<std::byte>(int bx, int by)>& part, const RgbImage& label,
                   const RgbImage& macro, const LevelDecorator& decorate) {
  {
    BigTiffWriter file(path);
    lay_out(file, options, part, label, macro, decorate);
  }
  if (!std::filesystem::is_regular_file(path)) return;
  try {
    check_pyramid(path, options);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    throw;
  }
}

}  // namespace vtissue::io
