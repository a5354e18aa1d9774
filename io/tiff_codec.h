#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "io/pixel_rows.h"

namespace vtissue::io {

/// The data of a TIFF tile or strip of RGB8 pixels in one of libtiff's lossless compressions (kTiffLzw, kTiffDeflate,
/// kTiffZstd of io/tiff_tags.h), with the horizontal predictor (kTagPredictor 2), which microscope pictures gain some
/// quarter from. Pure: thread-safe. Throws Error kOutput if this libtiff has no such codec or has no memory.
std::vector<std::byte> encode_tiff_lossless(const PixelRows& pixels, std::uint16_t compression);

}  // namespace vtissue::io
