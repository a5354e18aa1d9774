#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/units.h"

namespace vtissue::io {

/// Area resampling along one axis: output pixel i is the mean of the source interval
/// [i * ratio, (i + 1) * ratio), clipped to the source. Weights are integers that add up to kUnit, so
/// that a constant stays constant and every machine gets the same bytes; they depend on i alone, so
/// that a pixel does not depend on how the picture is cut.
class AreaAxis {
 public:
  static constexpr std::int64_t kUnit = 1 << 16;

  struct Taps {
    std::int64_t first = 0;              ///< first source pixel
    std::vector<std::uint32_t> weights;  ///< of `first` and the pixels after it
  };

  /// `ratio`: source pixels per output pixel, > 0; within 1e-6 of 1 it counts as 1 (a copy).
  /// `extent`: source pixels, > 0.
  AreaAxis(double ratio, std::int64_t extent);

  bool is_copy() const { return ratio_ == 1; }
  double ratio() const { return ratio_; }
  Taps taps(std::int64_t output) const;

  struct Range {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::int64_t size() const { return end - begin; }
  };
  /// The source pixels that the output pixels [begin, end) are made from; not empty.
  Range source(Range output) const;

 private:
  double ratio_;
  std::int64_t extent_;
};

/// Fills rgb [h, w, 3] with a box of the source, which lies inside the source.
using PixelSource = std::function<void(Box<LevelPx> box, std::span<std::uint8_t> rgb)>;

/// Writes `box` of the resampled picture to `out`, whose rows are `row_bytes` apart. The source is
/// read in pieces of at most some 2048 x 2048 pixels: memory does not grow with the box.
void area_resample(const AreaAxis& columns, const AreaAxis& rows, Box<TargetPx> box, const PixelSource& source,
                   std::uint8_t* out, std::size_t row_bytes);

}  // namespace vtissue::io
