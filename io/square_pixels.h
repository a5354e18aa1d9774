#pragma once

#include <memory>
#include <optional>

#include "io/slide_reader.h"

namespace vtissue::io {

/// A slide whose pixels are not square, seen with square ones: as wide as its own, and rows area-resampled. Columns
/// stay what they were; a row y of the file is at y * info().pixel_aspect. Pixels do not depend on the box they are
/// read with. `aspect`: height by width of the file's pixels, nothing: as its µm/px say. A slide with square pixels, or
/// without µm/px, is given back as it is.
std::unique_ptr<SlideReader> read_with_square_pixels(std::unique_ptr<SlideReader> slide, std::optional<double> aspect);

}  // namespace vtissue::io
