#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/units.h"
#include "io/expression.h"

/// Whether spots lie where the slide has tissue, and if not, what would make them.
namespace vtissue::io {

/// A slide's tissue at low resolution.
struct TissueMap {
  Size<LevelPx> size;
  double downsample = 1;       ///< level-0 pixels per cell
  std::vector<float> density;  ///< [h, w] 0 on glass, higher where the tissue is darker
};

/// Optical density above the glass of a thumbnail [h, w, 3]; its 5th percentile is taken for glass.
TissueMap tissue_map(std::span<const std::uint8_t> rgb, Size<LevelPx> size, double downsample);

/// 1 on tissue, from a mask [h, w] of 0 and 1.
TissueMap tissue_map_of_mask(std::span<const std::uint8_t> mask, Size<LevelPx> size, double downsample);

/// What is done to positions: first x and y are swapped, then each is mirrored on the slide (x becomes width - x), or
/// all are multiplied. One of eight orientations or a scale, never both.
struct Placing {
  bool swapped = false, mirrored_x = false, mirrored_y = false;
  double scale = 1;

  bool as_given() const { return !swapped && !mirrored_x && !mirrored_y && scale == 1; }
  std::pair<double, double> apply(double x, double y, Size<Level0Px> slide) const;
  /// "x and y are swapped", "x is mirrored", "x and y are multiplied by 4.0", …
  std::string describe() const;
};

/// How well spots fit the tissue.
struct Fit {
  Placing placing;
  double on_slide = 0;     ///< share of spots on the slide
  double density = 0;      ///< mean density under the spots; off the slide 0
  double correlation = 0;  ///< Spearman's, of the spots' counts with the density under them; 0 where undefined
};

struct Alignment {
  Fit given;
  std::optional<Fit> better;  ///< what fits better by more than chance explains
  bool refuted = false;       ///< and so much that the spots as given cannot be right
  /// "spots fit when x and y are swapped (…)"; empty without `better`.
  std::string advice() const;
};

/// Compares the spots as given with the other seven orientations and, where the table does not tell the array's pitch,
/// with other scales (1/64 to 64). An orientation counts as better if the density under the spots rises by a tenth and
/// the correlation rises with it, or by three tenths; on a mask, which has no darkness to follow, if nine tenths of
/// the spots are on tissue then and 1.15 times as many as before. `totals` [spots]. Tissue that covers the whole array
/// says nothing about the orientation, and nothing is refuted then. Deterministic; of more than 20,000 spots every k-th
/// is asked.
Alignment check_alignment(const SpotTable& spots, std::span<const double> totals, const TissueMap& tissue,
                          Size<Level0Px> slide);

/// What would bring spots that are off the slide, or of another scale than `mpp`, to their place: "; they fit when …",
/// or nothing. `tissue` may be null.
std::string explain_misfit(const SpotTable& spots, Size<Level0Px> slide, std::optional<double> mpp,
                           const TissueMap* tissue);

}  // namespace vtissue::io
