#pragma once

#include <memory>

#include "io/slide_reader.h"
#include "io/tiff_levels.h"

namespace vtissue::io {

/// An OME-TIFF of RGB tiles whose smaller levels are in SubIFDs, which OpenSlide does not read; null, and `tiff` as it
/// was, if it is none. Throws Error kBadInput if it is one and is damaged.
std::unique_ptr<SlideReader> open_ome_tiff(const std::filesystem::path& path, const SlideOptions& options,
                                           TiffLevels& tiff);

}  // namespace vtissue::io
