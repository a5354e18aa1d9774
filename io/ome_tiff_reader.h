#pragma once

#include <memory>
#include <string_view>

#include "io/mpp.h"
#include "io/slide_reader.h"
#include "io/tiff_levels.h"

namespace vtissue::io {

/// What OME-XML says of its first image: ome.PhysicalSizeX and -Y in µm, whatever unit they are given in. Nothing if
/// the text is no OME-XML. Never throws: texts come from files.
SlideProperties ome_properties(std::string_view xml);

/// An OME-TIFF of RGB tiles whose smaller levels are in SubIFDs, which OpenSlide does not read; null, and `tiff` as it
/// was, if it is none. Throws Error kBadInput if it is one and is damaged.
std::unique_ptr<SlideReader> open_ome_tiff(const std::filesystem::path& path, const SlideOptions& options,
                                           TiffLevels& tiff);

}  // namespace vtissue::io
