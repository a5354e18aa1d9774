#pragma once

#include <cstdint>
#include <string>

#include "io/pyramid_writer.h"

namespace vtissue::stages {

/// What the label of a virtual slide says besides the notice.
struct CardText {
  std::string generator;  ///< "vtissue 0.1.0"
  std::uint64_t seed = 0;
  double mpp = 0;  ///< µm/px of level 0
};

/// The label image: a white card with the notice.
io::RgbImage draw_label(const CardText& text);

/// The macro image: a glass slide with its label on the left and the virtual tissue on the right, the
/// notice over both.
io::RgbImage draw_macro(const CardText& text, const io::RgbImage& overview);

}  // namespace vtissue::stages
