#pragma once

#include <cstdint>
#include <string_view>

#include "io/pyramid_writer.h"

namespace vtissue::io {

struct Rgb {
  std::uint8_t red = 0, green = 0, blue = 0;
  bool operator==(const Rgb&) const = default;
};

/// How text is drawn: as round-ended strokes, smoothed, at any size. No font file is needed and the
/// pixels are the same on every machine.
struct TextStyle {
  double cap_height_px = 14;  ///< height of a capital letter; readable from 7 on
  double stroke = 0.14;       ///< stroke width as a fraction of the cap height; at least 1 px
  Rgb color;
  double opacity = 1;  ///< 0..1
};

/// The box that a line of text takes, from the top of capitals to the bottom of descenders.
Size<TargetPx> text_size(std::string_view utf8, const TextStyle& style);

/// Draws one line with its box's top left corner at `origin`; what is outside the image is cut off, so
/// that a text may be drawn piecewise on the tiles of a larger image. Printable ASCII and "µ – — × · °"
/// have glyphs; anything else is drawn as a hollow box.
void draw_text(RgbImage& image, Point<TargetPx> origin, std::string_view utf8, const TextStyle& style);

}  // namespace vtissue::io
