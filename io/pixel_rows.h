#pragma once

#include <cstddef>
#include <cstdint>

namespace vtissue::io {

/// RGB8 pixels in somebody else's memory, [height, width, 3], rows `row_bytes` apart.
struct PixelRows {
  const std::uint8_t* rgb = nullptr;
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::int64_t row_bytes = 0;

  const std::uint8_t* at(std::int64_t x, std::int64_t y) const { return rgb + y * row_bytes + x * 3; }
  PixelRows box(std::int64_t x, std::int64_t y, std::int64_t box_width, std::int64_t box_height) const {
    return {at(x, y), box_width, box_height, row_bytes};
  }
  bool is_dense() const { return row_bytes == width * 3; }
};

}  // namespace vtissue::io
