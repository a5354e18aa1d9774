#include "stages/maps/tile_map.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/error.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {
namespace {

constexpr std::int64_t kMapMargin = 16;
constexpr std::int64_t kLongestMap = 1024;
constexpr std::int64_t kNarrowestPage = 420;  // for the words
constexpr std::array<std::array<double, 3>, 6> kHeatAnchors{
    {{20, 18, 70}, {88, 24, 122}, {165, 44, 108}, {222, 82, 66}, {248, 152, 44}, {252, 244, 170}}};

void fill_rectangle(io::RgbImage& image, std::int64_t left, std::int64_t top, std::int64_t width, std::int64_t height,
                    io::Rgb colour) {
  for (std::int64_t y = std::max<std::int64_t>(0, top); y < std::min(top + height, image.size.height); ++y) {
    for (std::int64_t x = std::max<std::int64_t>(0, left); x < std::min(left + width, image.size.width); ++x) {
      std::uint8_t* const to = &image.rgb[static_cast<std::size_t>((y * image.size.width + x) * 3)];
      to[0] = colour.red, to[1] = colour.green, to[2] = colour.blue;
    }
  }
}

}  // namespace

io::Rgb heat_colour(double share) {
  const double at = std::clamp(std::isfinite(share) ? share : 0.0, 0.0, 1.0) * (kHeatAnchors.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(at), kHeatAnchors.size() - 2);
  const double rest = at - static_cast<double>(below);
  const auto mix = [&](std::size_t c) {
    return static_cast<std::uint8_t>(
        std::lround(kHeatAnchors[below][c] + rest * (kHeatAnchors[below + 1][c] - kHeatAnchors[below][c])));
  };
  return {mix(0), mix(1), mix(2)};
}

io::RgbImage draw_tile_map(const io::TileSet& tiles, std::span<const std::optional<double>> values,
                           const TileMapText& text) {
  if (values.size() != tiles.cells.size()) throw std::logic_error("draw_tile_map: not one value a tile");
  std::int32_t left = 0, top = 0, right = 2, bottom = 2;
  if (!tiles.cells.empty()) {
    left = right = tiles.cells.front().column, top = bottom = tiles.cells.front().row;
    for (const TileCell cell : tiles.cells) {
      left = std::min(left, cell.column), right = std::max(right, cell.column + 2);
      top = std::min(top, cell.row), bottom = std::max(bottom, cell.row + 2);
    }
  }
  // Pixels a half tile.
  const std::int64_t longest = std::max(right - left, bottom - top);
  const std::int64_t px = std::clamp<std::int64_t>(kLongestMap / longest, 1, 12);
  const Size<TargetPx> map{(right - left) * px, (bottom - top) * px};
  const io::TextStyle style{.cap_height_px = 13, .color = {40, 44, 50}};
  io::TextStyle notice = style;
  notice.color = {122, 47, 99};
  const std::int64_t line = io::text_size("Hg", style).height + 8;
  const std::int64_t width = std::max({map.width, io::text_size(text.title, style).width,
                                       io::text_size(kSyntheticNotice, style).width, kNarrowestPage}) +
                             2 * kMapMargin;
  io::RgbImage page{{width, map.height + 4 * line + 2 * kMapMargin}, {}};
  page.rgb.assign(static_cast<std::size_t>(page.size.area()) * 3, 255);
  io::draw_text(page, {kMapMargin, kMapMargin}, text.title, style);
  const std::int64_t map_top = kMapMargin + line;
  const double range = text.high > text.low ? text.high - text.low : 1;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const TileCell cell = tiles.cells[i];
    const io::Rgb colour = values[i] ? heat_colour((*values[i] - text.low) / range) : io::Rgb{212, 212, 214};
    fill_rectangle(page, kMapMargin + (cell.column - left) * px, map_top + (cell.row - top) * px, 2 * px, 2 * px,
                   colour);
  }
  const std::int64_t legend_top = map_top + map.height + 8;
  const std::string low = fmt::format("{:.3g}", text.low), high = fmt::format("{:.3g} {}", text.high, text.unit);
  const std::int64_t bar_left = kMapMargin + io::text_size(low, style).width + 8;
  constexpr std::int64_t kBar = 160;
  io::draw_text(page, {kMapMargin, legend_top}, low, style);
  for (std::int64_t x = 0; x < kBar; ++x) {
    fill_rectangle(page, bar_left + x, legend_top, 1, 14, heat_colour(static_cast<double>(x) / (kBar - 1)));
  }
  io::draw_text(page, {bar_left + kBar + 8, legend_top}, high, style);
  io::draw_text(page, {kMapMargin, legend_top + line + 4}, kSyntheticNotice, notice);
  return page;
}

std::pair<double, double> colour_range(std::span<const std::optional<double>> values) {
  std::vector<double> sorted;
  for (const std::optional<double>& value : values) {
    if (value && std::isfinite(*value)) sorted.push_back(*value);
  }
  if (sorted.empty()) return {0, 1};
  std::ranges::sort(sorted);
  const std::size_t cut = sorted.size() / 50;
  const double low = sorted[cut], high = sorted[sorted.size() - 1 - cut];
  return {low, high > low ? high : low + std::max(1e-6, std::abs(low) * 1e-3)};
}

}  // namespace vtissue::stages
