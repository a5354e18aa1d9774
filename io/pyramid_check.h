#pragma once

#include <filesystem>

#include "io/pyramid_writer.h"

namespace vtissue::io {

/// Opens a written pyramid as its readers do: levels of the right sizes in the profile's places, every tile's data
/// inside the file and none empty, the corner tiles of each level decoded. Throws Error kOutput with what is wrong.
void check_pyramid(const std::filesystem::path& path, const PyramidOptions& options);

}  // namespace vtissue::io
