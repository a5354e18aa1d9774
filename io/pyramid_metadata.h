#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "io/pyramid_writer.h"

namespace vtissue::io {

/// ImageDescription of the levels and the thumbnail. The first word makes readers take the file for an
/// SVS, the one profile whose µm/px OpenSlide 3.4.1 reads (formats.md 2.2); the rest of the line and
/// the items `Generator` and `Virtual = 1` say what it really is.
std::string pyramid_description(const PyramidOptions& options);

/// ImageDescription of a generic TIFF's level 0: a JSON object with what the SVS description says, and the provenance.
std::string generic_description(const PyramidOptions& options);

/// A picture of an OME-TIFF besides the slide.
struct OmePicture {
  std::string name;
  Size<TargetPx> size;
};

/// The OME-XML of an OME-TIFF: the slide as Image:0 in directory 0, the other pictures in the directories after it,
/// the description's items and the provenance as a map annotation of the slide (formats.md 2.8).
std::string ome_xml(const PyramidOptions& options, std::span<const OmePicture> pictures);

/// ImageDescription of the label and macro images, named by the first word of its second line.
std::string associated_description(std::string_view name, Size<TargetPx> size);

/// An XMP packet (TIFF tag 700, which readers know and pass over) with the JSON text as its property
/// vt:provenance.
std::string provenance_packet(std::string_view json);

/// The provenance_json of a virtual slide; empty if the file is a TIFF without one or no TIFF at all.
/// Throws Error kBadInput if the file cannot be read.
std::string read_provenance(const std::filesystem::path& path);

}  // namespace vtissue::io
