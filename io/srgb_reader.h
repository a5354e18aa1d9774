#pragma once

#include <memory>

#include "io/slide_reader.h"

namespace vtissue::io {

/// The slide with its pixels converted from its ICC profile to sRGB, relative colorimetric; what lies outside stays
/// white. A slide without a profile is given back as it is. Label and macro are not converted. Throws Error kBadInput
/// for a profile that cannot be used.
std::unique_ptr<SlideReader> read_as_srgb(std::unique_ptr<SlideReader> slide);

}  // namespace vtissue::io
