#include "stages/stitch/synthetic_mark.h"

#include <algorithm>
#include <stdexcept>

namespace vtissue::stages {

const std::string_view kSyntheticNotice = "SYNTHETIC – NOT FOR DIAGNOSIS";

namespace {

constexpr int kOverviewLevel = 3;  // downsample 8: from here on the notice lies over the tissue too

// Shares of the ink in a fully covered pixel, of 256. On glass the notice must not look like tissue when
// it is shrunk; over tissue it must stay readable.
constexpr int kGlassInk = 44;
constexpr int kTissueInk = 84;
constexpr int kInkValue = 64;

const TextPattern& glass_pattern() {
  static const TextPattern pattern({kSyntheticNotice}, 22, {768, 192});
  return pattern;
}

const TextPattern& overview_pattern() {
  static const TextPattern pattern({"SYNTHETIC", "NOT FOR DIAGNOSIS"}, 13, {256, 128});
  return pattern;
}

/// Blends the ink over a channel; `share` of 256 where covered in full.
std::uint8_t inked(std::uint8_t value, int coverage, int share) {
  const int weight = coverage * share;  // of 255 * 256
  constexpr int kWhole = 255 * 256;
  return static_cast<std::uint8_t>((value * (kWhole - weight) + kInkValue * weight + kWhole / 2) / kWhole);
}

void draw_pattern(const TextPattern& pattern, int share, std::int64_t origin_x, std::int64_t origin_y,
                  Size<TargetPx> size, std::span<std::uint8_t> rgb) {
  std::size_t at = 0;
  for (std::int64_t y = 0; y < size.height; ++y) {
    for (std::int64_t x = 0; x < size.width; ++x, at += 3) {
      const int coverage = pattern.coverage(origin_x + x, origin_y + y);
      if (coverage == 0) continue;
      for (std::size_t c = 0; c < 3; ++c) rgb[at + c] = inked(rgb[at + c], coverage, share);
    }
  }
}

}  // namespace

TextPattern::TextPattern(const std::vector<std::string_view>& lines, double cap_height_px, Size<TargetPx> period)
    : period_(period) {
  const io::TextStyle style{.cap_height_px = cap_height_px};
  io::RgbImage page{period, std::vector<std::uint8_t>(static_cast<std::size_t>(period.area()) * 3, 255)};
  const std::int64_t line_height = io::text_size(lines.front(), style).height + 2;
  std::int64_t y = (period.height - line_height * static_cast<std::int64_t>(lines.size())) / 2;
  for (const std::string_view line : lines) {
    const Size<TargetPx> size = io::text_size(line, style);
    if (size.width > period.width || y < 0) throw std::logic_error("TextPattern: the text does not fit its period");
    io::draw_text(page, {(period.width - size.width) / 2, y}, line, style);
    y += line_height;
  }
  coverage_.resize(static_cast<std::size_t>(period.area()));
  for (std::size_t i = 0; i < coverage_.size(); ++i) coverage_[i] = static_cast<std::uint8_t>(255 - page.rgb[i * 3]);
}

void fill_glass(Point<TargetPx> origin, Size<TargetPx> size, io::Rgb glass, std::span<std::uint8_t> rgb) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(size.area()); ++i) {
    rgb[i * 3] = glass.red;
    rgb[i * 3 + 1] = glass.green;
    rgb[i * 3 + 2] = glass.blue;
  }
  draw_pattern(glass_pattern(), kGlassInk, origin.x, origin.y, size, rgb);
}

int first_marked_level(std::size_t levels) {
  // The last level always: it is the thumbnail, and of a slide that has no other level all that a viewer shows.
  return std::max(0, std::min(kOverviewLevel, static_cast<int>(levels) - 1));
}

io::LevelDecorator overview_mark(const io::PyramidLayout& layout) {
  const int first = first_marked_level(layout.levels.size());
  return [first](int level, Point<LevelPx> origin, io::RgbImage& pixels) {
    if (level < first) return;
    draw_pattern(overview_pattern(), kTissueInk, origin.x, origin.y, pixels.size, pixels.rgb);
  };
}

void mark_picture(io::RgbImage& picture) {
  draw_pattern(overview_pattern(), kTissueInk, 0, 0, picture.size, picture.rgb);
}

}  // namespace vtissue::stages
