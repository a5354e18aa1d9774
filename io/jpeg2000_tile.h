#pragma once

#include <cstddef>
#include <vector>

#include "io/pixel_rows.h"

namespace vtissue::io {

/// A JPEG 2000 codestream (no JP2 boxes) of RGB8 pixels as Aperio's files have them: reversible at quality 100, else
/// irreversible with a peak signal-to-noise ratio of 30 + quality / 5 dB. Pure: thread-safe. Throws
/// std::invalid_argument unless 1 <= quality <= 100 and there are pixels, Error kOutput if OpenJPEG refuses.
std::vector<std::byte> encode_jpeg2000(const PixelRows& pixels, int quality);

}  // namespace vtissue::io
