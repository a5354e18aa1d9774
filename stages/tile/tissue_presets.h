#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "stages/tile/clam_mask.h"
#include "stages/tile/tissue_mask.h"

namespace vtissue::stages {

enum class TissueMethod {
  kOwn,   ///< find_tissue()
  kClam,  ///< clam_mask()
  kHest,  ///< hest_mask()
  kNone   ///< nothing is looked for: all of the slide is tissue
};

/// A way to find tissue and its numbers.
struct TissuePreset {
  TissueMethod method = TissueMethod::kOwn;
  TissueAreas areas;  ///< of kOwn and kHest
  ClamOptions clam;   ///< of kClam
};

/// "default", "clam" and its published variants, "hest", "none".
const std::vector<std::pair<std::string_view, TissuePreset>>& tissue_presets();

/// µm/px at which the preset looks where nothing else is asked for: 8; for CLAM 64 level-0 pixels, within 2..32.
double preset_mpp(const TissuePreset& preset, double level0_mpp);

/// The tissue of a thumbnail by the preset. `mpp` µm and `downsample` level-0 pixels per pixel.
TissueMask find_tissue_as(const TissuePreset& preset, const RgbView& picture, const Glass& glass, double mpp,
                          double downsample);

}  // namespace vtissue::stages
