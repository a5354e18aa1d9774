#include "large_slide.h"

#include <map>
#include <utility>
#include <vector>

#include "io/pyramid_writer.h"
#include "synthetic_slide.h"

namespace vtissue::testing {
namespace {

/// Tissue from edge to edge: the middle of a picture's ellipse, repeated.
io::RgbImage full_block(double mpp) {
  constexpr std::int64_t kCut = 256;
  const io::RgbImage picture = tissue_picture({4 * kCut, 4 * kCut}, mpp);
  const io::RgbImage middle = cut(picture, {{kCut, kCut}, {kCut, kCut}});
  io::RgbImage block{{kTissueBlockPx, kTissueBlockPx}, {}};
  block.rgb.resize(static_cast<std::size_t>(block.size.area()) * 3);
  for (std::int64_t y = 0; y < kTissueBlockPx; ++y) {
    for (std::int64_t x = 0; x < kTissueBlockPx; ++x) {
      for (std::int64_t c = 0; c < 3; ++c) {
        block.rgb[static_cast<std::size_t>((y * kTissueBlockPx + x) * 3 + c)] =
            middle.rgb[static_cast<std::size_t>((y % kCut * kCut + x % kCut) * 3 + c)];
      }
    }
  }
  return block;
}

}  // namespace

void write_large_slide(const std::filesystem::path& path, std::int64_t side, int tissue_blocks, double mpp) {
  io::PyramidOptions options;
  options.size = {side, side};
  options.mpp = mpp;
  const io::PyramidLayout layout = io::layout_of(options);
  const io::RgbImage tissue = full_block(mpp);
  const io::RgbImage glass = constant_picture({kTissueBlockPx, kTissueBlockPx}, 240, 240, 242);
  // As square as may be, in the middle.
  int columns = 1;
  while (columns * columns < tissue_blocks) ++columns;
  const int left = (layout.blocks_x - columns) / 2, top = (layout.blocks_y - columns) / 2;
  const auto is_tissue = [&](int bx, int by) {
    const int x = bx - left, y = by - top;
    return x >= 0 && x < columns && y >= 0 && y * columns + x < tissue_blocks;
  };
  // Blocks that are whole are all alike.
  std::map<std::pair<bool, bool>, std::vector<std::byte>> encoded;
  const io::RgbImage card = constant_picture({64, 64}, 255, 255, 255);
  io::write_pyramid(
      path, options,
      [&](int bx, int by) {
        const bool at_edge = bx + 1 == layout.blocks_x || by + 1 == layout.blocks_y;
        const io::RgbImage& block = is_tissue(bx, by) ? tissue : glass;
        if (at_edge) return io::encode_block(options, bx, by, block.rgb);
        std::vector<std::byte>& known = encoded[{is_tissue(bx, by), false}];
        if (known.empty()) known = io::encode_block(options, bx, by, block.rgb);
        return known;
      },
      card, card);
}

}  // namespace vtissue::testing
