#pragma once

#include <string_view>

#include "io/mpp.h"

namespace vtissue::io {

/// What OME-XML says of its first image: ome.PhysicalSizeX and -Y in µm, whatever unit they are given in. Nothing if
/// the text is no OME-XML. Never throws: texts come from files.
SlideProperties ome_properties(std::string_view xml);

}  // namespace vtissue::io
