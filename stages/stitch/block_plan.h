#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/units.h"
#include "io/pyramid_writer.h"
#include "io/tile_store.h"

namespace vtissue::stages {

/// Which tiles each block of the pyramid shows. A tile on a border belongs to each block it meets: its
/// pixels are the same whenever it is decoded.
class BlockPlan {
 public:
  BlockPlan(const io::TileSet& tiles, const io::PyramidLayout& layout, int block_px);

  std::uint64_t count() const { return tiles_.size(); }
  int column(std::uint64_t id) const { return static_cast<int>(id) % columns_; }
  int row(std::uint64_t id) const { return static_cast<int>(id) / columns_; }
  std::uint64_t id(int column, int row) const { return static_cast<std::uint64_t>(row) * columns_ + column; }
  Point<TargetPx> origin(std::uint64_t id) const {
    return {std::int64_t{column(id)} * block_px_, std::int64_t{row(id)} * block_px_};
  }
  /// Indices in TileSet::cells, ascending.
  std::span<const std::uint32_t> tiles(std::uint64_t id) const { return tiles_[id]; }

 private:
  int columns_;
  int block_px_;
  std::vector<std::vector<std::uint32_t>> tiles_;
};

/// Copies the part of a tile [tile_px, tile_px, 3] at `tile` that lies in the block [block_px, block_px, 3]
/// at `block`.
void paste_tile(std::span<const std::uint8_t> rgb, Point<TargetPx> tile, int tile_px, Point<TargetPx> block,
                int block_px, std::span<std::uint8_t> out);

}  // namespace vtissue::stages
