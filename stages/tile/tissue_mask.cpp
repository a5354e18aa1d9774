#include "stages/tile/tissue_mask.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "stages/tile/glass.h"
#include "stages/tile/morphology.h"

namespace vtissue::stages {
namespace {

// Lengths on the glass, µm.
constexpr double kTextureRadius = 32;  // some three nuclei to each side
constexpr double kGlassRadius = 400;   // over which leaked stain and lamp change slowly
constexpr double kGapRadius = 16;      // clefts that belong to the tissue
constexpr double kThreadRadius = 8;    // scratches and hairs are thinner than twice this

// Optical densities (log10), mean of the channels.
constexpr double kDense = 0.10;          // darker than any tinted glass met so far (0.02 at most)
constexpr double kLeastTexture = 0.012;  // glass has 0.002..0.004, pale stroma and fat 0.03 and more
constexpr double kMostTexture = 0.03;
constexpr double kNoiseFactor = 4;     // threshold over the glass's own texture
constexpr double kEdgeDensity = 0.02;  // a pixel of the rim with less over the glass beside it is glass
constexpr double kSharpShare = 0.25;   // of a piece's pixels; dust out of focus has none, tissue 0.9

/// Mean optical density of the channels over the glass, 0 where brighter.
std::vector<float> mean_density(const RgbView& picture, const std::array<double, 3>& glass) {
  const DensityTable density = density_table(glass);
  std::vector<float> result(picture.count());
  for (std::size_t i = 0; i < picture.count(); ++i) {
    const std::uint8_t* p = picture.at(i);
    result[i] = density[0][p[0]] + density[1][p[1]] + density[2][p[2]];
  }
  return result;
}

/// The texture window reaches over the tissue's rim; takes back, from outside in, the rim's pixels that
/// are no denser than the glass around. Structures inside stay.
void trim_rim(BinaryImage& tissue, std::span<const float> density, const LocalStatistics& here,
              std::span<const std::uint8_t> valid, double mpp, int rim) {
  std::vector<std::uint8_t> glass(tissue.pixels.size());
  for (std::size_t i = 0; i < glass.size(); ++i) glass[i] = valid[i] && !tissue.pixels[i];
  const LocalStatistics around = local_statistics(density, glass, tissue.size, radius_px(kGlassRadius, mpp));
  for (int step = 0; step < rim; ++step) {
    const BinaryImage core = erode(tissue, 1);
    for (std::size_t i = 0; i < glass.size(); ++i) {
      if (tissue.pixels[i] && !core.pixels[i] && here.mean[i] < around.mean[i] + kEdgeDensity) tissue.pixels[i] = 0;
    }
  }
}

}  // namespace

double TissueMask::tissue_fraction() const {
  if (mask.empty()) return 0;
  return static_cast<double>(std::count(mask.begin(), mask.end(), 1)) / static_cast<double>(mask.size());
}

TissueMask mask_beside(const Glass& glass) {
  TissueMask mask;
  mask.size = glass.black.size;
  mask.background_rgb = glass.rgb;
  mask.background_found = glass.found;
  mask.black_fraction = static_cast<double>(std::count(glass.black.pixels.begin(), glass.black.pixels.end(), 1)) /
                        static_cast<double>(glass.black.pixels.size());
  return mask;
}

TissueMask find_tissue(std::span<const std::uint8_t> rgb, Size<LevelPx> size, double mpp, const TissueAreas& areas) {
  const RgbView picture{rgb, size};
  return find_tissue(picture, find_glass(picture, mpp), mpp, areas);
}

TissueMask find_tissue(const RgbView& picture, const Glass& glass, double mpp, const TissueAreas& areas) {
  const Size<LevelPx> size = picture.size;
  const std::vector<std::uint8_t>& valid = glass.valid;
  const int texture_radius = radius_px(kTextureRadius, mpp);
  TissueMask result = mask_beside(glass);
  result.texture_threshold = std::clamp(kNoiseFactor * glass.texture, kLeastTexture, kMostTexture);

  // Clipped at the glass, so that steps between glass and painted white are no texture.
  const std::vector<float> density = mean_density(picture, glass.rgb);
  const LocalStatistics texture = local_statistics(density, valid, size, texture_radius);
  const LocalStatistics fine = local_statistics(density, valid, size, 1);
  BinaryImage tissue{size, std::vector<std::uint8_t>(picture.count())};
  for (std::size_t i = 0; i < picture.count(); ++i) {
    tissue.pixels[i] = valid[i] && (texture.deviation[i] > result.texture_threshold || fine.mean[i] > kDense);
  }
  trim_rim(tissue, density, fine, valid, mpp, texture_radius);

  const int thread = radius_px(kThreadRadius, mpp);
  const int gap = radius_px(kGapRadius, mpp);
  tissue = dilate(erode(tissue, thread), thread);
  tissue = erode(dilate(tissue, gap), gap);
  for (std::size_t i = 0; i < picture.count(); ++i) tissue.pixels[i] &= valid[i];

  const double pixel_um2 = mpp * mpp;
  std::vector<std::uint8_t> sharp(picture.count());
  for (std::size_t i = 0; i < sharp.size(); ++i) sharp[i] = fine.deviation[i] > result.texture_threshold;
  flip_parts(
      tissue, 1,
      [&](const Part& part) {
        const auto count = static_cast<double>(part.pixels);
        return count * pixel_um2 < areas.min_area_um2 || static_cast<double>(part.marked) < kSharpShare * count;
      },
      sharp);
  flip_parts(tissue, 0, [&](const Part& part) {
    return !part.touches_edge && static_cast<double>(part.pixels) * pixel_um2 < areas.min_hole_um2;
  });
  result.mask = std::move(tissue.pixels);
  return result;
}

}  // namespace vtissue::stages
