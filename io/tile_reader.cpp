#include "io/tile_reader.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "io/resample.h"

namespace vtissue::io {
namespace {

/// How much finer than asked for a level or the slide may be counted as a match (formats.md 1.5).
constexpr double kMatchTolerance = 0.01;

std::int64_t target_extent(std::int64_t level0_px, double scale) {
  // The slack is for quotients that are whole numbers but for the last bit.
  return static_cast<std::int64_t>(std::floor(static_cast<double>(level0_px) / scale + 1e-9));
}

}  // namespace

Size<TargetPx> size_at(Size<Level0Px> slide, double source_mpp, double target_mpp) {
  const double scale = target_mpp / source_mpp;
  return {target_extent(slide.width, scale), target_extent(slide.height, scale)};
}

TileReader::TileReader(std::shared_ptr<const SlideReader> slide, double target_mpp) : slide_(std::move(slide)) {
  const SlideInfo& info = slide_->info();
  if (!info.mpp)
    throw Error(ErrorCode::kBadInput, "{}: no trustworthy µm/px in the slide; pass it with --mpp", info.path.string());
  if (!(target_mpp > 0) || !std::isfinite(target_mpp)) {
    throw Error(ErrorCode::kUsage, "target of {} µm/px: expected a positive number", target_mpp);
  }
  const double slide_mpp = (info.mpp->x + info.mpp->y) / 2;
  scale_ = target_mpp / slide_mpp;
  if (scale_ < 1 - kMatchTolerance) {
    throw Error(ErrorCode::kUsage,
                "{}: target of {} µm/px is finer than the slide's {} µm/px ({}); choose a target of at least that",
                info.path.string(), target_mpp, slide_mpp, info.mpp->source);
  }
  for (std::size_t level = 0; level < info.levels.size(); ++level) {
    const double downsample = info.levels[level].downsample;
    if (downsample <= scale_ * (1 + kMatchTolerance) &&
        downsample >= info.levels[static_cast<std::size_t>(level_)].downsample) {
      level_ = static_cast<int>(level);
    }
  }
  const Size<LevelPx> level0 = info.levels.front().size;
  size_ = {target_extent(level0.width, scale_), target_extent(level0.height, scale_)};
}

std::vector<std::uint8_t> TileReader::read(Box<TargetPx> box) const {
  const std::int64_t width = std::max<std::int64_t>(0, box.size.width),
                     height = std::max<std::int64_t>(0, box.size.height);
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(width * height) * 3, 255);
  const std::int64_t left = std::max<std::int64_t>(box.origin.x, 0), top = std::max<std::int64_t>(box.origin.y, 0);
  const std::int64_t right = std::min(box.origin.x + width, size_.width);
  const std::int64_t bottom = std::min(box.origin.y + height, size_.height);
  if (left >= right || top >= bottom) return rgb;

  const SlideLevel& level = slide_->info().levels[static_cast<std::size_t>(level_)];
  const double ratio = scale_ / level.downsample;
  const auto read_level = [&](Box<LevelPx> source, std::span<std::uint8_t> out) {
    slide_->read(level_, level_origin(level, source.origin), source.size, out);
  };
  const std::size_t row_bytes = static_cast<std::size_t>(width) * 3;
  area_resample(AreaAxis(ratio, level.size.width), AreaAxis(ratio, level.size.height),
                {{left, top}, {right - left, bottom - top}}, read_level,
                rgb.data() + static_cast<std::size_t>(top - box.origin.y) * row_bytes +
                    static_cast<std::size_t>(left - box.origin.x) * 3,
                row_bytes);
  return rgb;
}

}  // namespace vtissue::io
