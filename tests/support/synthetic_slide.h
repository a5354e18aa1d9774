#pragma once

#include <cstdint>
#include <filesystem>

#include "io/pyramid_writer.h"

namespace vtissue::testing {

/// A picture that passes for H&E: an ellipse of pink tissue with purple nuclei, some 20 % of them in
/// clusters, and a hole, on a slightly uneven white background. The same on every machine.
/// `mpp` in µm/px sets the size of the nuclei (about 8 µm).
io::RgbImage tissue_picture(Size<TargetPx> size, double mpp, std::uint32_t seed = 1);

/// Pixels of one colour.
io::RgbImage constant_picture(Size<TargetPx> size, std::uint8_t red, std::uint8_t green, std::uint8_t blue);

/// Independent random bytes: nothing that averages or shifts survives a comparison.
io::RgbImage noise_picture(Size<TargetPx> size, std::uint32_t seed = 1);

/// Writes a picture as a pyramid that OpenSlide takes for an SVS of that µm/px. Lossless unless
/// options say otherwise; options.size is filled in.
void write_slide(const std::filesystem::path& path, const io::RgbImage& picture, io::PyramidOptions options);
void write_slide(const std::filesystem::path& path, const io::RgbImage& picture, double mpp);

/// Box [origin, origin + size) of a picture, white outside.
io::RgbImage cut(const io::RgbImage& picture, Box<TargetPx> box);

}  // namespace vtissue::testing
