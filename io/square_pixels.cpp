#include "io/square_pixels.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "io/mpp.h"
#include "io/resample.h"

namespace vtissue::io {
namespace {

class SquarePixelReader final : public SlideReader {
 public:
  SquarePixelReader(std::unique_ptr<SlideReader> slide, double aspect)
      : slide_(std::move(slide)), info_(slide_->info()), aspect_(aspect) {
    info_.pixel_aspect = aspect_;
    info_.mpp->y = info_.mpp->x;
    for (SlideLevel& level : info_.levels) level.size.height = rows(level.size.height);
    if (info_.bounds) {
      auto& bounds = *info_.bounds;
      const auto row = [&](std::int64_t at) { return std::llround(static_cast<double>(at) * aspect_); };
      const std::int64_t bottom = row(bounds.origin.y + bounds.size.height);
      bounds.origin.y = row(bounds.origin.y);
      bounds.size.height = bottom - bounds.origin.y;
    }
  }

  const SlideInfo& info() const override { return info_; }

  void read(int level, Point<Level0Px> origin, Size<LevelPx> size, std::span<std::uint8_t> out) const override {
    const Box<LevelPx> box = checked_box(level, origin, size, out.size());
    std::ranges::fill(out, 255);
    const SlideLevel& own = info_.levels[static_cast<std::size_t>(level)];
    const SlideLevel& theirs = slide_->info().levels[static_cast<std::size_t>(level)];
    const std::int64_t left = std::max<std::int64_t>(0, box.origin.x), top = std::max<std::int64_t>(0, box.origin.y);
    const std::int64_t right = std::min(box.origin.x + size.width, own.size.width);
    const std::int64_t bottom = std::min(box.origin.y + size.height, own.size.height);
    if (left >= right || top >= bottom) return;
    const std::size_t row_bytes = static_cast<std::size_t>(size.width) * 3;
    area_resample(
        AreaAxis(1, theirs.size.width), AreaAxis(1 / aspect_, theirs.size.height),
        {{left, top}, {right - left, bottom - top}},
        [&](Box<LevelPx> source, std::span<std::uint8_t> rgb) {
          slide_->read(level, level_origin(theirs, source.origin), source.size, rgb);
        },
        out.data() + static_cast<std::size_t>(top - box.origin.y) * row_bytes +
            static_cast<std::size_t>(left - box.origin.x) * 3,
        row_bytes);
  }

  Picture thumbnail(int longest_px) const override { return area_thumbnail(longest_px); }
  Picture associated_image(const std::string& name) const override { return slide_->associated_image(name); }

 private:
  /// Whole square rows in so many of the file's.
  std::int64_t rows(std::int64_t theirs) const {
    return std::max<std::int64_t>(1,
                                  static_cast<std::int64_t>(std::floor(static_cast<double>(theirs) * aspect_ + 1e-9)));
  }

  std::unique_ptr<SlideReader> slide_;
  SlideInfo info_;
  double aspect_;
};

}  // namespace

std::unique_ptr<SlideReader> read_with_square_pixels(std::unique_ptr<SlideReader> slide, std::optional<double> aspect) {
  const auto& mpp = slide->info().mpp;
  if (!mpp) return slide;
  if (!aspect) aspect = is_square(*mpp) ? 1 : mpp->y / mpp->x;
  if (*aspect == 1) return slide;
  return std::make_unique<SquarePixelReader>(std::move(slide), *aspect);
}

}  // namespace vtissue::io
