#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.h"
#include "io/alignment.h"
#include "io/expression.h"

namespace vtissue::io {

/// How a tile takes its expression from the spots around it.
enum class SpotMapping {
  kAuto,         ///< kPool where at least two spots fit along a tile's side (bins of Visium HD), else kNearest
  kNearest,      ///< the nearest spot that reaches the tile
  kDistance,     ///< spots that reach the tile's circle, weights 1 - d / reach
  kInterpolate,  ///< inverse squared distance over the spots around, also between them
  kPool          ///< all spots whose centre is in the tile, whose counts are added up before they are normalised
};

std::string_view to_string(SpotMapping mapping);
/// "auto", "nearest", "distance", "interpolate", "pool". Throws Error kUsage.
SpotMapping parse_spot_mapping(std::string_view name);

/// Square tiles of one size on the slide.
struct TileSquares {
  std::span<const double> x, y;  ///< [tiles] centres, level-0 pixels
  double half_px = 0;            ///< half a side, level-0 pixels
};

struct SpotMappingOptions {
  SpotMapping mapping = SpotMapping::kNearest;
  /// Reach from a tile's centre, level-0 pixels, above 0. Default: kNearest the spot's radius and half a
  /// tile; kDistance the spot's radius and half the tile's diagonal; kInterpolate 1.5 times the pitch; kPool the
  /// tile's square.
  std::optional<double> max_distance_px;
};

/// The spots of each tile in CSR order, by ascending spot. Weights of a tile add up to 1; a tile
/// without an entry has no expression.
struct SpotWeights {
  std::vector<std::int64_t> indptr;  ///< [tiles + 1]
  std::vector<std::int32_t> spots;
  std::vector<float> weights;

  std::size_t tiles() const { return indptr.size() - 1; }
  /// Number of spots of a tile.
  std::int64_t spots_of(std::size_t tile) const { return indptr[tile + 1] - indptr[tile]; }
};

/// What kAuto stands for with these spots and tiles; others stay what they are.
SpotMapping resolve_mapping(SpotMapping mapping, const SpotTable& spots, double tile_half_px);

/// A spot's radius, level-0 pixels: half the stated diameter; else that of the array where it is known by its pitch
/// (55 of 100 µm, Visium); else nothing, and only the centres count.
std::optional<double> spot_radius(const SpotTable& spots);

/// Ties of kNearest go to the smaller index. Throws Error kBadInput if a reach cannot be told (one spot and no pitch).
SpotWeights map_spots(const SpotTable& spots, const TileSquares& tiles, const SpotMappingOptions& options);

/// Weighted means of spot values [spots, width] for tiles [first, first + count): [count, width], zeros where there is
/// no spot. Sums in double, in the order of the weights.
std::vector<float> apply_weights(const SpotWeights& weights, std::span<const float> values, std::size_t width,
                                 std::size_t first, std::size_t count);

/// Whether a spot's centre is on the slide.
bool lies_on(Size<Level0Px> slide, double x, double y);

/// How the spots lie on the slide.
struct SpotPlacement {
  std::size_t outside = 0;  ///< spots whose centre is not on the slide
  std::size_t twice = 0;    ///< spots at another one's place
  /// µm/px of level 0 that the file states or the array's pitch implies.
  std::optional<double> mpp_from_pitch;
};

/// Throws Error kBadInput that names the numbers, what would make the spots fit (explain_misfit()) and the remedy if
/// more than a quarter of the spots lie outside the slide, more than a tenth at another one's place (several sections
/// in one table), if the table states another size of its image (by more than a hundredth), or if it states or its
/// pitch implies another scale than `mpp` (by more than a fifth). Nothing is checked where a side is unknown. `source`:
/// the file or folder the spots come from; `tissue` may be null.
SpotPlacement check_placement(const SpotTable& spots, Size<Level0Px> slide, std::optional<double> mpp,
                              std::string_view source, const TissueMap* tissue = nullptr);

}  // namespace vtissue::io
