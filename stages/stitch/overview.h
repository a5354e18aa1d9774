#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/units.h"
#include "io/pyramid_writer.h"

namespace vtissue::stages {

/// A small picture of the whole virtual slide, put together from a share of each block. Each pixel is the
/// mean of factor x factor pixels; the factor is the power of two, at most 256, that leaves no side over
/// kLongest px.
class Overview {
 public:
  static constexpr std::int64_t kLongest = 1024;

  Overview(Size<TargetPx> slide, int block_px);

  int factor() const { return factor_; }
  std::size_t share_bytes() const { return static_cast<std::size_t>(share_px_) * share_px_ * 3; }

  /// A block [block_px, block_px, 3] shrunk: [share_px, share_px, 3].
  std::vector<std::uint8_t> shrink(std::span<const std::uint8_t> rgb) const;

  /// Puts a block's share in its place.
  void place(int block_column, int block_row, std::span<const std::uint8_t> share);

  const io::RgbImage& picture() const { return picture_; }

 private:
  int factor_ = 1;
  int block_px_;
  int share_px_;
  io::RgbImage picture_;
};

/// Area-resampled to fit `room`, keeping the proportions; never enlarged.
io::RgbImage fit_picture(const io::RgbImage& picture, Size<TargetPx> room);

}  // namespace vtissue::stages
