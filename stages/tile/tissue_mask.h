#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/units.h"
#include "stages/tile/glass.h"

namespace vtissue::stages {

/// What a search for tissue may leave out. Areas in µm² on the glass.
struct TissueAreas {
  double min_area_um2 = 50'000;  ///< smaller pieces are dust; 0 keeps every one
  double min_hole_um2 = 50'000;  ///< smaller holes belong to the tissue (fat cells, ducts, vessels); 0 fills none
};

/// Where a slide has tissue, and what the decision rests on.
struct TissueMask {
  Size<LevelPx> size;
  std::vector<std::uint8_t> mask;          ///< [h, w], 1 = tissue
  std::array<double, 3> background_rgb{};  ///< colour of the empty glass, 0..255
  bool background_found = false;           ///< false: no empty glass in the picture; a usual white was assumed
  double texture_threshold = 0;            ///< optical density; local deviation above it is tissue
  double black_fraction = 0;               ///< share of the picture that is black border (not scanned)

  double tissue_fraction() const;  ///< share of the picture, 0..1
};

/// A mask of the glass' size and with what is known of it; no pixels yet.
TissueMask mask_beside(const Glass& glass);

/// Finds the tissue of an H&E slide in a thumbnail. Pure; deterministic on one thread.
///
/// `rgb` [h, w, 3]; `mpp` µm per pixel of the thumbnail, 2..32 (made for 8). Glass is told from tissue by
/// optical density relative to the glass *of this slide* (its brightest common colour among smooth pixels)
/// and by local texture, not by a fixed colour or saturation: eosin that leaked onto the glass tints it, but smoothly,
/// while pale stroma and fat have fine structure. Unscanned parts, black or white, are glass. Throws
/// std::invalid_argument if rgb does not fit the size.
TissueMask find_tissue(std::span<const std::uint8_t> rgb, Size<LevelPx> size, double mpp,
                       const TissueAreas& areas = {});
/// The same where the glass is known: find_glass(picture, mpp).
TissueMask find_tissue(const RgbView& picture, const Glass& glass, double mpp, const TissueAreas& areas = {});

}  // namespace vtissue::stages
