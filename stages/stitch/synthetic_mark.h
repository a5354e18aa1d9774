#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/units.h"
#include "io/bitmap_font.h"
#include "io/pyramid_writer.h"

namespace vtissue::stages {

/// What a virtual slide says wherever it can: "SYNTHETIC – NOT FOR DIAGNOSIS".
extern const std::string_view kSyntheticNotice;

/// Lines of text repeated over the plane, every other row of them shifted by half a period. Immutable;
/// thread-safe.
class TextPattern {
 public:
  /// Lines are centred under each other. The period must have room for the text.
  TextPattern(const std::vector<std::string_view>& lines, double cap_height_px, Size<TargetPx> period);

  /// How far text covers the pixel (x, y), 0..255: a function of its arguments alone. x, y >= 0.
  int coverage(std::int64_t x, std::int64_t y) const {
    const std::int64_t row = y / period_.height;
    const std::int64_t inner_x = (x + (row % 2) * (period_.width / 2)) % period_.width;
    return coverage_[static_cast<std::size_t>((y - row * period_.height) * period_.width + inner_x)];
  }

 private:
  Size<TargetPx> period_;
  std::vector<std::uint8_t> coverage_;  ///< [period.height, period.width]
};

/// Glass with the notice on it, pale, at level 0: fills a block [height, width, 3] whose top-left pixel is
/// at `origin` of the slide.
void fill_glass(Point<TargetPx> origin, Size<TargetPx> size, io::Rgb glass, std::span<std::uint8_t> rgb);

/// The first level of a pyramid of so many that carries the notice over the tissue: the last one at the latest, which
/// is also the thumbnail. A pyramid of one level carries it on level 0.
int first_marked_level(std::size_t levels);

/// Draws the notice, pale, over everything: on levels with a downsample of 8 or more, and on the last
/// level of a smaller pyramid. Levels above are left as they are.
io::LevelDecorator overview_mark(const io::PyramidLayout& layout);

/// The notice over a whole picture, as overview_mark() draws it.
void mark_picture(io::RgbImage& picture);

}  // namespace vtissue::stages
