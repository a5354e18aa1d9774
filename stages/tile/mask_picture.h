#pragma once

#include <filesystem>

#include "core/units.h"
#include "stages/tile/morphology.h"

namespace vtissue::stages {

/// A tissue mask from a picture (PNG, TIFF, JPEG) or slide that shows the whole slide at any scale, brought to
/// `mask_size`: a pixel is tissue where at least half of what it covers is. In the picture anything but black is
/// tissue; where there are values of 128 and more, those are (a soft or JPEG mask). Reads the picture by strips. Throws
/// Error kBadInput: not a picture, another aspect than the slide's (sides agree to a pixel or 1 %), nothing set.
BinaryImage read_mask_picture(const std::filesystem::path& path, Size<Level0Px> slide, Size<LevelPx> mask_size,
                              double downsample);

}  // namespace vtissue::stages
