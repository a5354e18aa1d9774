#pragma once

#include "io/pixel_rows.h"
#include "io/pyramid_writer.h"

namespace vtissue::io {

/// Mean of 2 x 2 pixels, rounded: (a + b + c + d + 2) / 4 (formats.md 2.6). Sides are even. The same bytes on every
/// processor.
RgbImage halved(const PixelRows& image);
inline RgbImage halved(const RgbImage& image) {
  return halved(PixelRows{image.rgb.data(), image.size.width, image.size.height, image.size.width * 3});
}

}  // namespace vtissue::io
