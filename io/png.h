#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "io/pyramid_writer.h"

namespace vtissue::io {

/// A PNG file: grey (1 channel), RGB (3) or RGBA (4), 8 bit, [height, width, channels], without times or
/// other metadata: the same pixels give the same bytes. Thread-safe. Throws std::invalid_argument if
/// the sizes do not fit and Error kOutput if libvips cannot encode.
std::vector<std::byte> encode_png(std::span<const std::uint8_t> pixels, std::int64_t width, std::int64_t height,
                                  int channels);
std::vector<std::byte> encode_png(const RgbImage& image);

/// Writes a picture as PNG or, for names ending .jpg or .jpeg, as JPEG of quality 90, under a temporary
/// name first. Throws Error kUsage for another ending, kOutput if it cannot be written.
void write_picture(const std::filesystem::path& path, const RgbImage& image);

}  // namespace vtissue::io
