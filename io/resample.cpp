#include "io/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace vtissue::io {
namespace {

constexpr int kChannels = 3;
constexpr double kCopyTolerance = 1e-6;
constexpr std::int64_t kPieceSourcePx = 2048;

/// One source row resampled along x: sums in units of 1 / AreaAxis::kUnit.
void resample_row(const std::uint8_t* row, std::int64_t row_begin, const std::vector<AreaAxis::Taps>& columns,
                  std::uint32_t* sums) {
  for (const AreaAxis::Taps& taps : columns) {
    const std::uint8_t* pixel = row + (taps.first - row_begin) * kChannels;
    std::uint32_t red = 0, green = 0, blue = 0;
    for (const std::uint32_t weight : taps.weights) {
      red += weight * pixel[0];
      green += weight * pixel[1];
      blue += weight * pixel[2];
      pixel += kChannels;
    }
    sums[0] = red;
    sums[1] = green;
    sums[2] = blue;
    sums += kChannels;
  }
}

void resample_piece(const AreaAxis& columns, const AreaAxis& rows, Box<TargetPx> box, Box<LevelPx> source_box,
                    const std::vector<std::uint8_t>& pixels, std::uint8_t* out, std::size_t row_bytes) {
  constexpr std::uint64_t kScale = std::uint64_t{AreaAxis::kUnit} * AreaAxis::kUnit;
  std::vector<AreaAxis::Taps> column_taps;
  column_taps.reserve(static_cast<std::size_t>(box.size.width));
  for (std::int64_t x = 0; x < box.size.width; ++x) column_taps.push_back(columns.taps(box.origin.x + x));

  const std::size_t samples = static_cast<std::size_t>(box.size.width) * kChannels;
  std::vector<std::uint32_t> row_sums(samples);
  std::vector<std::uint64_t> sums(samples);
  std::int64_t summed_row = -1;  // neighbouring output rows share a source row
  for (std::int64_t y = 0; y < box.size.height; ++y) {
    const AreaAxis::Taps row_taps = rows.taps(box.origin.y + y);
    std::fill(sums.begin(), sums.end(), 0);
    for (std::size_t i = 0; i < row_taps.weights.size(); ++i) {
      const std::int64_t source_row = row_taps.first + static_cast<std::int64_t>(i);
      if (source_row != summed_row) {
        resample_row(pixels.data() + (source_row - source_box.origin.y) * source_box.size.width * kChannels,
                     source_box.origin.x, column_taps, row_sums.data());
        summed_row = source_row;
      }
      const std::uint64_t weight = row_taps.weights[i];
      for (std::size_t s = 0; s < samples; ++s) sums[s] += weight * row_sums[s];
    }
    std::uint8_t* const out_row = out + static_cast<std::size_t>(y) * row_bytes;
    for (std::size_t s = 0; s < samples; ++s) out_row[s] = static_cast<std::uint8_t>((sums[s] + kScale / 2) / kScale);
  }
}

}  // namespace

AreaAxis::AreaAxis(double ratio, std::int64_t extent)
    : ratio_(std::abs(ratio - 1) < kCopyTolerance ? 1.0 : ratio), extent_(extent) {
  if (!(ratio > 0) || extent <= 0) throw std::invalid_argument("AreaAxis: ratio and extent must be positive");
}

AreaAxis::Taps AreaAxis::taps(std::int64_t output) const {
  const double limit = static_cast<double>(extent_);
  const double begin = std::clamp(static_cast<double>(output) * ratio_, 0.0, limit);
  const double end = std::clamp(static_cast<double>(output + 1) * ratio_, 0.0, limit);
  const Range range = source({output, output + 1});
  Taps taps{range.begin, {}};
  if (range.size() == 1 || end <= begin) {
    taps.weights.assign(1, static_cast<std::uint32_t>(kUnit));
    return taps;
  }
  // Differences of rounded cumulative coverage: they add up to kUnit whatever the fractions.
  std::int64_t before = 0;
  for (std::int64_t pixel = range.begin; pixel < range.end; ++pixel) {
    const double edge = pixel + 1 == range.end ? end : static_cast<double>(pixel + 1);
    const std::int64_t upto = std::llround(static_cast<double>(kUnit) * (edge - begin) / (end - begin));
    taps.weights.push_back(static_cast<std::uint32_t>(upto - before));
    before = upto;
  }
  return taps;
}

AreaAxis::Range AreaAxis::source(Range output) const {
  // The tolerance keeps rounding errors of the product from pulling in a pixel of weight zero.
  constexpr double kTolerance = 1e-7;
  const auto begin = static_cast<std::int64_t>(std::floor(static_cast<double>(output.begin) * ratio_ + kTolerance));
  const auto end = static_cast<std::int64_t>(std::ceil(static_cast<double>(output.end) * ratio_ - kTolerance));
  Range range;
  range.begin = std::clamp<std::int64_t>(begin, 0, extent_ - 1);
  range.end = std::clamp<std::int64_t>(end, range.begin + 1, extent_);
  return range;
}

void area_resample(const AreaAxis& columns, const AreaAxis& rows, Box<TargetPx> box, const PixelSource& source,
                   std::uint8_t* out, std::size_t row_bytes) {
  const auto piece_size = [](const AreaAxis& axis) {
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(kPieceSourcePx) / axis.ratio()));
  };
  const std::int64_t piece_width = piece_size(columns), piece_height = piece_size(rows);
  std::vector<std::uint8_t> pixels;
  for (std::int64_t y = 0; y < box.size.height; y += piece_height) {
    for (std::int64_t x = 0; x < box.size.width; x += piece_width) {
      const Box<TargetPx> piece{
          {box.origin.x + x, box.origin.y + y},
          {std::min(piece_width, box.size.width - x), std::min(piece_height, box.size.height - y)}};
      const AreaAxis::Range across = columns.source({piece.origin.x, piece.origin.x + piece.size.width});
      const AreaAxis::Range down = rows.source({piece.origin.y, piece.origin.y + piece.size.height});
      const Box<LevelPx> source_box{{across.begin, down.begin}, {across.size(), down.size()}};
      pixels.resize(static_cast<std::size_t>(source_box.size.area()) * kChannels);
      source(source_box, pixels);
      std::uint8_t* const piece_out =
          out + static_cast<std::size_t>(y) * row_bytes + static_cast<std::size_t>(x) * kChannels;
      if (columns.is_copy() && rows.is_copy() && source_box.size.width == piece.size.width &&
          source_box.size.height == piece.size.height) {
        const std::size_t bytes = static_cast<std::size_t>(piece.size.width) * kChannels;
        for (std::int64_t row = 0; row < piece.size.height; ++row) {
          std::memcpy(piece_out + static_cast<std::size_t>(row) * row_bytes,
                      pixels.data() + static_cast<std::size_t>(row) * bytes, bytes);
        }
      } else {
        resample_piece(columns, rows, piece, source_box, pixels, piece_out, row_bytes);
      }
    }
  }
}

}  // namespace vtissue::io
