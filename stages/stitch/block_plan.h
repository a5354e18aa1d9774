#pragma once

#include <cstdint>

#include "core/units.h"
#include "io/pyramid_writer.h"

namespace vtissue::stages {

/// The blocks that a pyramid is made in, row by row.
class BlockPlan {
 public:
  BlockPlan(const io::PyramidLayout& layout, int block_px)
      : columns_(layout.blocks_x), rows_(layout.blocks_y), block_px_(block_px) {}

  std::uint64_t count() const { return static_cast<std::uint64_t>(columns_) * static_cast<std::uint64_t>(rows_); }
  int column(std::uint64_t id) const { return static_cast<int>(id) % columns_; }
  int row(std::uint64_t id) const { return static_cast<int>(id) / columns_; }
  std::uint64_t id(int column, int row) const { return static_cast<std::uint64_t>(row) * columns_ + column; }
  Point<TargetPx> origin(std::uint64_t id) const {
    return {std::int64_t{column(id)} * block_px_, std::int64_t{row(id)} * block_px_};
  }

 private:
  int columns_;
  int rows_;
  int block_px_;
};

}  // namespace vtissue::stages
