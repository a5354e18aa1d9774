#pragma once

#include <memory>

#include "io/slide_reader.h"
#include "io/tiff_levels.h"

namespace vtissue::io {

/// The slide through OpenSlide, or null if OpenSlide does not recognise the file or would misread it
/// (sizes_that_openslide_misreads(); small levels of that kind are left out of the slide). Throws Error
/// kBadInput if it is recognised and cannot be opened.
std::unique_ptr<SlideReader> open_openslide(const std::filesystem::path& path, const SlideOptions& options,
                                            TiffLevels tiff);

}  // namespace vtissue::io
