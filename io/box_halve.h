#pragma once

#include "io/pixel_rows.h"
#include "io/pyramid_writer.h"

namespace vtissue::io {

/// Mean of 2 x 2 pixels, rounded: (a + b + c + d + 2) / 4 (formats.md 2.6). Sides are even. The same bytes on every
/// processor. `half` is not part of `image`; its memory is used again where it is large enough.
void halve(const PixelRows& image, RgbImage& half);
/// The same for rows [begin, end) of `half`, which has its size already.
void halve_rows(const PixelRows& image, std::int64_t begin, std::int64_t end, RgbImage& half);
inline RgbImage halved(const RgbImage& image) {
  RgbImage half;
  halve({image.rgb.data(), image.size.width, image.size.height, image.size.width * 3}, half);
  return half;
}

}  // namespace vtissue::io
