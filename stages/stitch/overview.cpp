#include "stages/stitch/overview.h"

#include <algorithm>
#include <cmath>

#include "io/resample.h"

namespace vtissue::stages {

Overview::Overview(Size<TargetPx> slide, int block_px) : block_px_(block_px) {
  while (factor_ < 256 && std::max(slide.width, slide.height) > kLongest * factor_) factor_ *= 2;
  share_px_ = block_px / factor_;
  picture_.size = {std::max<std::int64_t>(1, slide.width / factor_), std::max<std::int64_t>(1, slide.height / factor_)};
  picture_.rgb.assign(static_cast<std::size_t>(picture_.size.area()) * 3, 255);
}

std::vector<std::uint8_t> Overview::shrink(std::span<const std::uint8_t> rgb) const {
  std::vector<std::uint8_t> share;
  share.reserve(share_bytes());
  const unsigned area = static_cast<unsigned>(factor_) * static_cast<unsigned>(factor_);
  for (int y = 0; y < share_px_; ++y) {
    for (int x = 0; x < share_px_; ++x) {
      unsigned sum[3] = {};
      for (int dy = 0; dy < factor_; ++dy) {
        const std::size_t row = static_cast<std::size_t>(y * factor_ + dy) * block_px_ + x * factor_;
        for (int dx = 0; dx < factor_; ++dx) {
          for (std::size_t c = 0; c < 3; ++c) sum[c] += rgb[(row + dx) * 3 + c];
        }
      }
      for (const unsigned s : sum) share.push_back(static_cast<std::uint8_t>((s + area / 2) / area));
    }
  }
  return share;
}

void Overview::place(int block_column, int block_row, std::span<const std::uint8_t> share) {
  const std::int64_t left = std::int64_t{block_column} * share_px_;
  const std::int64_t top = std::int64_t{block_row} * share_px_;
  const std::int64_t columns = std::min<std::int64_t>(share_px_, picture_.size.width - left);
  const std::int64_t rows = std::min<std::int64_t>(share_px_, picture_.size.height - top);
  for (std::int64_t y = 0; columns > 0 && y < rows; ++y) {
    const auto line = share.subspan(static_cast<std::size_t>(y * share_px_) * 3, static_cast<std::size_t>(columns) * 3);
    std::ranges::copy(line, picture_.rgb.begin() + ((top + y) * picture_.size.width + left) * 3);
  }
}

io::RgbImage fit_picture(const io::RgbImage& picture, Size<TargetPx> room) {
  const double ratio = std::max({1.0, static_cast<double>(picture.size.width) / static_cast<double>(room.width),
                                 static_cast<double>(picture.size.height) / static_cast<double>(room.height)});
  if (ratio == 1.0) return picture;
  const auto shrunk = [&](std::int64_t extent) {
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::floor(static_cast<double>(extent) / ratio + 1e-9)));
  };
  io::RgbImage out{{shrunk(picture.size.width), shrunk(picture.size.height)}, {}};
  const std::size_t row_bytes = static_cast<std::size_t>(out.size.width) * 3;
  out.rgb.resize(row_bytes * static_cast<std::size_t>(out.size.height));
  const auto source = [&](Box<LevelPx> box, std::span<std::uint8_t> rgb) {
    for (std::int64_t y = 0; y < box.size.height; ++y) {
      const auto first = picture.rgb.begin() + ((box.origin.y + y) * picture.size.width + box.origin.x) * 3;
      std::copy_n(first, box.size.width * 3, rgb.begin() + y * box.size.width * 3);
    }
  };
  io::area_resample(io::AreaAxis(ratio, picture.size.width), io::AreaAxis(ratio, picture.size.height),
                    {{0, 0}, out.size}, source, out.rgb.data(), row_bytes);
  return out;
}

}  // namespace vtissue::stages
