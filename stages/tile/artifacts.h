#pragma once

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "stages/tile/glass.h"
#include "stages/tile/morphology.h"

namespace vtissue::stages {

/// What lies on a slide besides glass and tissue, in the order of artifact_names().
enum class Artifact { kPen, kBorder, kBlur };
inline constexpr std::size_t kArtifactCount = 3;

/// "pen", "border", "blur": the words of the configuration and of tiles.h5.
const std::array<std::string_view, kArtifactCount>& artifact_names();

/// Colours of marker ink that are told apart.
enum class Ink { kBlue, kGreen, kRed, kBlack };
inline constexpr std::size_t kInkCount = 4;
const std::array<std::string_view, kInkCount>& ink_names();

struct Artifacts {
  std::array<BinaryImage, kArtifactCount> masks;  ///< [h, w] each, 1 where the artifact is
  std::array<std::int64_t, kInkCount> ink{};      ///< pixels of each ink

  const BinaryImage& operator[](Artifact artifact) const { return masks[static_cast<std::size_t>(artifact)]; }
};

/// Looks for marker ink, parts that were not scanned and parts out of focus in a thumbnail. Pure; `mpp` µm per pixel, 2
/// to 32 (made for 8); `tissue` [h, w], 1 where there is any.
///
/// Ink is told by the ratios of the channels' optical densities over the glass of this slide, not by fixed colours:
/// haematoxylin and eosin both take more green than red and blue, green ink least, blue ink takes far more red, red ink
/// as much blue as green and no red, black ink the same of all. It counts where it fills strokes wider than 80 µm
/// and 0.05 mm² of a kind; nuclei, blood and pigment do not. A rim of 40 µm belongs to it.
///
/// Border is black that reaches the picture's edge, and pure black of over 0.05 mm² anywhere (padding).
///
/// Blur is tissue whose finest detail, between neighbouring pixels, is weak beside that over 24 µm, over 0.25 mm² or
/// more. At 8 µm/px it shows where something is out of focus by 8 µm (standard deviation) or more; 4 µm do not show
/// there, and on coarser pictures it takes a pixel.
Artifacts find_artifacts(const RgbView& picture, const Glass& glass, double mpp, const BinaryImage& tissue);

}  // namespace vtissue::stages
