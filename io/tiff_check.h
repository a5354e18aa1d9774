#pragma once

#include <filesystem>
#include <vector>

#include "core/units.h"

namespace vtissue::io {

/// Finds truncated slides before anything is computed: where the file is a TIFF, every directory and
/// all tile and strip data must lie inside it (an SVS cut short by a copy still opens, and fails at the
/// first tile beyond the end). Files that are no TIFF pass. Throws Error kBadInput.
void check_tiff_is_whole(const std::filesystem::path& path);

/// Sizes of a TIFF's tiled images that OpenSlide 3.4.1 hands to libtiff's RGBA interface (all codecs but
/// JPEG and JPEG 2000) and that are smaller than one tile: libtiff then lays the rows out at another
/// width than asked for, and the pixels come back garbled without an error. Empty if it is no TIFF.
std::vector<Size<LevelPx>> sizes_that_openslide_misreads(const std::filesystem::path& path);

}  // namespace vtissue::io
