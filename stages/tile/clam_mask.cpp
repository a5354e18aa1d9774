#include "stages/tile/clam_mask.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "stages/tile/components.h"
#include "stages/tile/otsu.h"

namespace vtissue::stages {
namespace {

constexpr double kPatchPx = 512;  // CLAM's unit of area

/// As OpenCV has it in 8 bit, by its table of quotients.
std::vector<std::uint8_t> saturation(const RgbView& picture) {
  std::array<int, 256> quotient{};
  for (int v = 1; v < 256; ++v)
    quotient[static_cast<std::size_t>(v)] = static_cast<int>(std::lround((255 << 12) / double(v)));
  std::vector<std::uint8_t> result(picture.count());
  for (std::size_t i = 0; i < result.size(); ++i) {
    const std::uint8_t* p = picture.at(i);
    const int low = std::min({p[0], p[1], p[2]}), high = std::max({p[0], p[1], p[2]});
    result[i] = static_cast<std::uint8_t>(((high - low) * quotient[static_cast<std::size_t>(high)] + (1 << 11)) >> 12);
  }
  return result;
}

/// Median over a square of odd side; beyond the edge the nearest pixel counts. A histogram moves along each row.
std::vector<std::uint8_t> median_filter(const std::vector<std::uint8_t>& in, Size<LevelPx> size, int side) {
  if (side <= 1) return in;
  const std::int64_t width = size.width, height = size.height;
  const std::int64_t radius = side / 2;
  const int middle = side * side / 2;
  std::vector<std::uint8_t> out(in.size());
  const auto clamped = [](std::int64_t i, std::int64_t limit) { return std::clamp<std::int64_t>(i, 0, limit - 1); };
  for (std::int64_t y = 0; y < height; ++y) {
    std::array<int, 256> histogram{};
    int below = 0, median = 0;  // pixels in the window less than `median`
    const auto move = [&](std::int64_t column, int step) {
      const std::int64_t x = clamped(column, width);
      for (std::int64_t row = y - radius; row <= y + radius; ++row) {
        const std::uint8_t value = in[static_cast<std::size_t>(clamped(row, height) * width + x)];
        histogram[value] += step;
        if (value < median) below += step;
      }
    };
    for (std::int64_t x = -radius; x < radius; ++x) move(x, 1);
    for (std::int64_t x = 0; x < width; ++x) {
      move(x + radius, 1);
      while (below > middle) below -= histogram[static_cast<std::size_t>(--median)];
      while (below + histogram[static_cast<std::size_t>(median)] <= middle) {
        below += histogram[static_cast<std::size_t>(median++)];
      }
      out[static_cast<std::size_t>(y * width + x)] = static_cast<std::uint8_t>(median);
      move(x - radius, -1);
    }
  }
  return out;
}

/// Where the median over a square of odd side is above the threshold: where more than half of the square is. Beyond the
/// edge the nearest pixel counts. The same as thresholding median_filter(), at the cost of two running sums.
std::vector<std::uint8_t> median_above(const std::vector<std::uint8_t>& in, Size<LevelPx> size, int side,
                                       int threshold) {
  const std::int64_t width = size.width, height = size.height;
  const std::int64_t radius = side / 2;
  const int more_than_half = side * side / 2;
  std::vector<std::int32_t> columns(static_cast<std::size_t>(width + 2 * radius));  // set pixels of the square's rows
  std::vector<std::uint8_t> out(in.size());
  const auto count_row = [&](std::int64_t y, int sign) {
    const std::uint8_t* row = &in[static_cast<std::size_t>(std::clamp<std::int64_t>(y, 0, height - 1) * width)];
    for (std::int64_t x = 0; x < width; ++x)
      columns[static_cast<std::size_t>(x + radius)] += sign * (row[x] > threshold);
  };
  for (std::int64_t y = -radius; y < radius; ++y) count_row(y, 1);
  for (std::int64_t y = 0; y < height; ++y) {
    count_row(y + radius, 1);
    std::fill_n(columns.begin(), radius, columns[static_cast<std::size_t>(radius)]);
    std::fill_n(columns.end() - radius, radius, columns[static_cast<std::size_t>(radius + width - 1)]);
    int set = 0;
    for (std::int64_t x = 0; x < 2 * radius; ++x) set += columns[static_cast<std::size_t>(x)];
    for (std::int64_t x = 0; x < width; ++x) {
      set += columns[static_cast<std::size_t>(x + 2 * radius)];
      out[static_cast<std::size_t>(y * width + x)] = set > more_than_half;
      set -= columns[static_cast<std::size_t>(x)];
    }
    count_row(y - radius, -1);
  }
  return out;
}

/// Dilation, then erosion, by a square of any side with OpenCV's anchor at side / 2; what lies outside decides nothing.
BinaryImage closing(const BinaryImage& image, int side) {
  if (side <= 1) return image;
  const std::int64_t width = image.size.width, height = image.size.height;
  // Over [i - before, i + after] of each line; a sum of hits in a window that moves.
  const auto pass = [](const std::uint8_t* in, std::uint8_t* out, std::int64_t count, std::int64_t before,
                       std::int64_t after, std::uint8_t sought) {
    std::int64_t hits = 0;
    for (std::int64_t i = 0; i < std::min(after, count); ++i) hits += in[i] == sought;
    for (std::int64_t i = 0; i < count; ++i) {
      if (i + after < count) hits += in[i + after] == sought;
      out[i] = hits > 0 ? sought : static_cast<std::uint8_t>(1 - sought);
      if (i - before >= 0) hits -= in[i - before] == sought;
    }
  };
  const auto both = [&](const BinaryImage& from, std::uint8_t sought) {
    const std::int64_t anchor = side / 2, rest = side - 1 - anchor;
    BinaryImage rows = from, result = from;
    for (std::int64_t y = 0; y < height; ++y) {
      pass(&from.pixels[static_cast<std::size_t>(y * width)], &rows.pixels[static_cast<std::size_t>(y * width)], width,
           anchor, rest, sought);
    }
    // All columns at once, a row after the other, as memory lies.
    std::vector<std::uint16_t> hits(static_cast<std::size_t>(width));
    const auto count_row = [&](std::int64_t y, int sign) {
      if (y < 0 || y >= height) return;
      const std::uint8_t* row = &rows.pixels[static_cast<std::size_t>(y * width)];
      for (std::size_t x = 0; x < hits.size(); ++x)
        hits[x] = static_cast<std::uint16_t>(hits[x] + sign * (row[x] == sought));
    };
    for (std::int64_t y = 0; y < rest; ++y) count_row(y, 1);
    for (std::int64_t y = 0; y < height; ++y) {
      count_row(y + rest, 1);
      std::uint8_t* out = &result.pixels[static_cast<std::size_t>(y * width)];
      for (std::size_t x = 0; x < hits.size(); ++x)
        out[x] = hits[x] > 0 ? sought : static_cast<std::uint8_t>(1 - sought);
      count_row(y - anchor, -1);
    }
    return result;
  };
  return both(both(image, 1), 0);
}

/// Pieces with their holes, as contours through pixels' centres have them: a piece's pixels connect at corners, a
/// hole's do not. Areas by squares between four centres: of a piece's square all four corners make 1, three a half;
/// of a hole's square two corners in the hole make 1, one a half. That is what OpenCV's contourArea() gives.
struct Outlines {
  Components pieces, gaps;
  std::vector<double> net;                ///< [pieces], without the holes
  std::vector<double> hole_area;          ///< [gaps], with what lies within
  std::vector<std::int32_t> piece_of;     ///< [gaps], the piece around it; -1: not a hole
  std::vector<std::int32_t> hole_around;  ///< [pieces], the hole it lies in; -1: in none
  std::vector<std::int32_t> inward;       ///< gap g as g, piece p as -1 - p: what lies around another comes before it
};

Outlines outline(const BinaryImage& image) {
  const std::int64_t width = image.size.width, height = image.size.height;
  Outlines found{.pieces = find_components(image, 1, true), .gaps = find_components(image, 0, false)};
  found.net.assign(found.pieces.pixels.size(), 0);
  found.hole_area.assign(found.gaps.pixels.size(), 0);
  found.piece_of.assign(found.gaps.pixels.size(), -1);
  for (std::size_t gap = 0; gap < found.piece_of.size(); ++gap) {
    // The pixel left of a hole's first one belongs to the piece around it.
    if (!found.gaps.edge[gap])
      found.piece_of[gap] = found.pieces.labels[static_cast<std::size_t>(found.gaps.first[gap] - 1)];
  }
  for (std::int64_t y = 0; y + 1 < height; ++y) {
    for (std::int64_t x = 0; x + 1 < width; ++x) {
      const auto a = static_cast<std::size_t>(y * width + x);
      const std::array<std::size_t, 4> corners = {a, a + 1, a + static_cast<std::size_t>(width),
                                                  a + static_cast<std::size_t>(width) + 1};
      int set = 0;
      for (const std::size_t corner : corners) set += image.pixels[corner];
      if (set >= 3) {
        // Three or four of one square touch each other: they are of one piece.
        const std::int32_t piece = found.pieces.labels[image.pixels[a] ? a : corners[1]];
        found.net[static_cast<std::size_t>(piece)] += set == 4 ? 1 : 0.5;
      }
      if (set == 4) continue;
      std::array<std::int32_t, 4> seen = {-1, -1, -1, -1};
      for (std::size_t k = 0; k < 4; ++k) {
        const std::int32_t gap = found.gaps.labels[corners[k]];
        if (gap < 0 || std::find(seen.begin(), seen.end(), gap) != seen.end()) continue;
        seen[k] = gap;
        int of_gap = 0;
        for (const std::size_t corner : corners) of_gap += found.gaps.labels[corner] == gap;
        found.hole_area[static_cast<std::size_t>(gap)] += of_gap >= 2 ? 1 : 0.5;
      }
    }
  }
  found.hole_around.assign(found.pieces.first.size(), -1);
  for (std::size_t piece = 0; piece < found.hole_around.size(); ++piece) {
    const std::int64_t first = found.pieces.first[piece];
    if (first % width == 0) continue;
    const std::int32_t gap = found.gaps.labels[static_cast<std::size_t>(first - 1)];
    if (found.piece_of[static_cast<std::size_t>(gap)] >= 0) found.hole_around[piece] = gap;
  }
  std::vector<std::pair<std::int64_t, std::int32_t>> by_first;
  for (std::size_t p = 0; p < found.pieces.first.size(); ++p)
    by_first.emplace_back(found.pieces.first[p], -1 - static_cast<std::int32_t>(p));
  for (std::size_t g = 0; g < found.gaps.first.size(); ++g)
    by_first.emplace_back(found.gaps.first[g], static_cast<std::int32_t>(g));
  std::sort(by_first.begin(), by_first.end());
  for (const auto& [first, what] : by_first) found.inward.push_back(what);

  // A piece inside a hole belongs to the hole's area, with its own holes.
  std::vector<double> filled = found.net;
  for (auto what = found.inward.rbegin(); what != found.inward.rend(); ++what) {
    if (*what >= 0) {
      const std::int32_t piece = found.piece_of[static_cast<std::size_t>(*what)];
      if (piece >= 0) filled[static_cast<std::size_t>(piece)] += found.hole_area[static_cast<std::size_t>(*what)];
    } else {
      const auto piece = static_cast<std::size_t>(-1 - *what);
      if (found.hole_around[piece] >= 0)
        found.hole_area[static_cast<std::size_t>(found.hole_around[piece])] += filled[piece];
    }
  }
  return found;
}

}  // namespace

BinaryImage clam_mask(const RgbView& picture, double downsample, const ClamOptions& options) {
  const std::vector<std::uint8_t> level = saturation(picture);
  BinaryImage image{picture.size, {}};
  if (options.use_otsu) {
    const std::vector<std::uint8_t> median = median_filter(level, picture.size, options.mthresh);
    std::array<std::int64_t, 256> histogram{};
    for (const std::uint8_t value : median) ++histogram[value];
    const auto threshold = static_cast<int>(otsu_bin(histogram));
    image.pixels.resize(median.size());
    for (std::size_t i = 0; i < median.size(); ++i) image.pixels[i] = median[i] > threshold;
  } else {
    image.pixels = median_above(level, picture.size, std::max(1, options.mthresh), options.sthresh);
  }
  image = closing(image, options.close);

  const double patch = std::floor(kPatchPx * kPatchPx / (downsample * downsample));
  const Outlines found = outline(image);
  std::vector<std::uint8_t> keep_piece(found.net.size());
  for (std::size_t p = 0; p < keep_piece.size(); ++p) keep_piece[p] = found.net[p] > options.a_t * patch;
  // Of each piece the largest holes, and of those the ones that are large enough.
  std::vector<std::size_t> holes(found.hole_area.size());
  std::iota(holes.begin(), holes.end(), std::size_t{0});
  std::stable_sort(holes.begin(), holes.end(),
                   [&](std::size_t a, std::size_t b) { return found.hole_area[a] > found.hole_area[b]; });
  std::vector<int> kept(found.net.size());
  std::vector<std::uint8_t> fill(found.hole_area.size());
  for (const std::size_t hole : holes) {
    const std::int32_t piece = found.piece_of[hole];
    if (piece < 0) continue;
    fill[hole] =
        kept[static_cast<std::size_t>(piece)]++ >= options.max_n_holes || found.hole_area[hole] <= options.a_h * patch;
  }
  // A filled hole is part of the piece around it, with all that lies within, if that piece is kept.
  std::vector<std::uint8_t> piece_set(found.net.size()), gap_set(found.hole_area.size());
  for (const std::int32_t what : found.inward) {
    if (what < 0) {
      const auto piece = static_cast<std::size_t>(-1 - what);
      const std::int32_t hole = found.hole_around[piece];
      piece_set[piece] = keep_piece[piece] || (hole >= 0 && gap_set[static_cast<std::size_t>(hole)]);
    } else if (found.piece_of[static_cast<std::size_t>(what)] >= 0) {
      const auto piece = static_cast<std::size_t>(found.piece_of[static_cast<std::size_t>(what)]);
      gap_set[static_cast<std::size_t>(what)] =
          piece_set[piece] && (fill[static_cast<std::size_t>(what)] || !keep_piece[piece]);
    }
  }
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const std::int32_t piece = found.pieces.labels[i];
    image.pixels[i] = piece >= 0 ? piece_set[static_cast<std::size_t>(piece)]
                                 : gap_set[static_cast<std::size_t>(found.gaps.labels[i])];
  }
  return image;
}

}  // namespace vtissue::stages
