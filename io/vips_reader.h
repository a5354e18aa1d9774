#pragma once

#include <memory>

#include "io/slide_reader.h"

namespace vtissue::io {

/// A plain TIFF (first page), PNG or JPEG as a slide of one level, or null if the file is none of these.
/// PNG and JPEG are decoded whole at the first read, in memory or, from 100 MB on, in libvips'
/// temporary file. Throws Error kBadInput if the file is damaged or of a colour space without sRGB
/// meaning.
std::unique_ptr<SlideReader> open_picture(const std::filesystem::path& path, const SlideOptions& options);

/// The picture of a TIFF's directory `page` of the main chain, whole. Throws Error kBadInput.
SlideReader::Picture read_tiff_page(const std::filesystem::path& path, int page);

}  // namespace vtissue::io
