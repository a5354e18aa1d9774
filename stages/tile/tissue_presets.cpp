#include "stages/tile/tissue_presets.h"

#include <algorithm>

#include "stages/tile/hest_mask.h"

namespace vtissue::stages {
namespace {

constexpr double kUsualMaskMpp = 8;
constexpr double kClamDownsample = 64;
constexpr double kFinestMpp = 2, kCoarsestMpp = 32;

// 60 and 5000 pixels at 8 µm/px.
constexpr TissueAreas kHestAreas{.min_area_um2 = 3840, .min_hole_um2 = 320'000};

TissuePreset clam(int sthresh, int mthresh, int close, double a_t, double a_h, int max_n_holes) {
  return {.method = TissueMethod::kClam, .areas = {}, .clam = {sthresh, mthresh, close, false, a_t, a_h, max_n_holes}};
}

}  // namespace

const std::vector<std::pair<std::string_view, TissuePreset>>& tissue_presets() {
  static const std::vector<std::pair<std::string_view, TissuePreset>> presets = {
      {"default", {}},
      {"clam", clam(8, 7, 4, 100, 16, 8)},
      {"clam_bwh_biopsy", clam(15, 11, 2, 1, 1, 2)},
      {"clam_bwh_resection", clam(15, 11, 4, 100, 16, 8)},
      {"clam_tcga", clam(8, 7, 4, 16, 4, 8)},
      {"hest", {.method = TissueMethod::kHest, .areas = kHestAreas, .clam = {}}},
      {"none", {.method = TissueMethod::kNone, .areas = {}, .clam = {}}},
  };
  return presets;
}

double preset_mpp(const TissuePreset& preset, double level0_mpp) {
  if (preset.method != TissueMethod::kClam) return kUsualMaskMpp;
  return std::clamp(kClamDownsample * level0_mpp, kFinestMpp, kCoarsestMpp);
}

TissueMask find_tissue_as(const TissuePreset& preset, const RgbView& picture, const Glass& glass, double mpp,
                          double downsample) {
  if (preset.method == TissueMethod::kOwn) return find_tissue(picture, glass, mpp, preset.areas);
  TissueMask mask = mask_beside(glass);
  switch (preset.method) {
    case TissueMethod::kClam:
      mask.mask = clam_mask(picture, downsample, preset.clam).pixels;
      break;
    case TissueMethod::kHest:
      mask.mask = hest_mask(picture, mpp, preset.areas).pixels;
      break;
    default:
      mask.mask.assign(picture.count(), 1);
  }
  return mask;
}

}  // namespace vtissue::stages
