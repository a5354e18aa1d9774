#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/mpp.h"

namespace vtissue::io {

/// What OME-XML says of its first image: ome.PhysicalSizeX and -Y in µm, whatever unit they are given in. Nothing if
/// the text is no OME-XML. Never throws: texts come from files.
SlideProperties ome_properties(std::string_view xml);

/// An image of an OME-TIFF.
struct OmeImage {
  std::string name;   ///< "" if it has none
  int directory = 0;  ///< of its first plane in the file's main chain
};

/// The images in their order, those whose plane is in another file left out. Nothing if the text is no OME-XML. Never
/// throws.
std::vector<OmeImage> ome_images(std::string_view xml);

}  // namespace vtissue::io
