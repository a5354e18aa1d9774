#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "io/pyramid_writer.h"

namespace vtissue::io {

/// ImageDescription of the levels and the thumbnail. The first word makes readers take the file for an
/// SVS, the one profile whose µm/px OpenSlide 3.4.1 reads (formats.md 2.2); the rest of the line and
/// the items `Generator` and `Virtual = 1` say what it really is.
std::string pyramid_description(const PyramidOptions& options);

/// ImageDescription of the label and macro images, named by the first word of its second line.
std::string associated_description(std::string_view name, Size<TargetPx> size);

/// An XMP packet (TIFF tag 700, which readers know and pass over) with the JSON text as its property
/// vt:provenance.
std::string provenance_packet(std::string_view json);

/// The provenance_json of a virtual slide; empty if the file is a TIFF without one or no TIFF at all.
/// Throws Error kBadInput if the file cannot be read.
std::string read_provenance(const std::filesystem::path& path);

}  // namespace vtissue::io
