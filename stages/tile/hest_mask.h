#pragma once

#include "stages/tile/glass.h"
#include "stages/tile/morphology.h"
#include "stages/tile/tissue_mask.h"

namespace vtissue::stages {

/// Tissue as the weight-free segmenter of the HEST and TRIDENT group finds it (formats.md 1.6, made for 8 µm/px):
/// greys, dark and black pixels count as white, then Otsu's threshold of the grey value twice, the second time on what
/// the first has left, so that pale tissue beside dark is found. There it runs by boxes of 512 pixels, here over the
/// whole slide. `mpp`: µm per pixel. Pieces and holes as `areas` says. Pure.
BinaryImage hest_mask(const RgbView& picture, double mpp, const TissueAreas& areas);

}  // namespace vtissue::stages
