#pragma once

#include <memory>
#include <vector>

#include "io/slide_reader.h"

namespace vtissue::io {

/// Size at `target_mpp` of a slide with `source_mpp`: whole pixels that lie on it.
Size<TargetPx> size_at(Size<Level0Px> slide, double source_mpp, double target_mpp);

/// A slide seen at a target µm/px: the level is chosen and area-resampled as formats.md 1.5 says, so
/// that neighbouring boxes fit without a seam: a box's pixels do not depend on how the slide is cut.
/// Thread-safe.
class TileReader {
 public:
  /// `target_mpp` in µm/px. Throws Error kBadInput if the slide has no µm/px (remedy: --mpp), or
  /// kUsage if the target is finer than the slide by more than 1 %.
  TileReader(std::shared_ptr<const SlideReader> slide, double target_mpp);

  /// Size of the whole slide at the target: floor(W0 / scale).
  Size<TargetPx> size() const { return size_; }
  /// Level-0 pixels per target pixel.
  double scale() const { return scale_; }
  /// The level that is read.
  int level() const { return level_; }

  /// [h, w, 3]; parts outside the slide are white.
  std::vector<std::uint8_t> read(Box<TargetPx> box) const;

 private:
  std::shared_ptr<const SlideReader> slide_;
  double scale_ = 1;
  int level_ = 0;
  Size<TargetPx> size_;
};

}  // namespace vtissue::io
