#pragma once

#include <cstdint>
#include <vector>

#include "stages/tile/morphology.h"

namespace vtissue::stages {

/// The connected parts of a picture, in order of their first pixels (row by row).
struct Components {
  std::vector<std::int32_t> labels;  ///< [h, w]; -1 where the picture has the other value
  std::vector<std::int64_t> pixels;  ///< [parts], how many
  std::vector<std::int64_t> first;   ///< [parts], index of the first pixel
  std::vector<std::uint8_t> edge;    ///< [parts], 1 if the part touches the picture's edge
};

/// Parts of pixels equal to `value`; `diagonal`: corners connect too. Pure; time linear in the pixels.
Components find_components(const BinaryImage& image, std::uint8_t value, bool diagonal);

}  // namespace vtissue::stages
