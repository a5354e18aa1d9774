#include "stages/report/report_pictures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string_view>

#include "io/bitmap_font.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {
namespace {

constexpr io::Rgb kOutline = {28, 122, 128};

Size<TargetPx> overview_size(const io::TileSet& tiles, double ratio) {
  const auto shrunk = [&](std::int64_t extent) {
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::floor(static_cast<double>(extent) / ratio + 1e-9)));
  };
  return {shrunk(tiles.target_size.width), shrunk(tiles.target_size.height)};
}

bool is_tissue(const io::TileSet& tiles, double x_um, double y_um) {
  const auto column = static_cast<std::int64_t>(x_um / tiles.mask_mpp);
  const auto row = static_cast<std::int64_t>(y_um / tiles.mask_mpp);
  if (column >= tiles.mask_size.width || row >= tiles.mask_size.height) return false;
  return tiles.mask[static_cast<std::size_t>(row * tiles.mask_size.width + column)] != 0;
}

void set_pixel(io::RgbImage& image, std::int64_t x, std::int64_t y, io::Rgb color) {
  if (x < 0 || y < 0 || x >= image.size.width || y >= image.size.height) return;
  const auto at = static_cast<std::size_t>(y * image.size.width + x) * 3;
  image.rgb[at] = color.red;
  image.rgb[at + 1] = color.green;
  image.rgb[at + 2] = color.blue;
}

void outline(io::RgbImage& image, std::int64_t left, std::int64_t top, std::int64_t right, std::int64_t bottom) {
  for (std::int64_t x = left; x <= right; ++x) {
    set_pixel(image, x, top, kOutline);
    set_pixel(image, x, bottom, kOutline);
  }
  for (std::int64_t y = top; y <= bottom; ++y) {
    set_pixel(image, left, y, kOutline);
    set_pixel(image, right, y, kOutline);
  }
}

}  // namespace

double overview_ratio(const io::TileSet& tiles, int longest_px) {
  const std::int64_t longest = std::max(tiles.target_size.width, tiles.target_size.height);
  return std::max(1.0, static_cast<double>(longest) / longest_px);
}

io::RgbImage read_overview(const io::TileReader& reader, const io::TileSet& tiles, double ratio) {
  const Size<TargetPx> size = overview_size(tiles, ratio);
  return {size, reader.read({{0, 0}, size})};
}

io::RgbImage draw_overlay(io::RgbImage real, const io::TileSet& tiles, double ratio) {
  const double um = tiles.target_mpp * ratio;
  std::size_t at = 0;
  for (std::int64_t y = 0; y < real.size.height; ++y) {
    for (std::int64_t x = 0; x < real.size.width; ++x, at += 3) {
      if (is_tissue(tiles, (static_cast<double>(x) + 0.5) * um, (static_cast<double>(y) + 0.5) * um)) continue;
      for (std::size_t c = 0; c < 3; ++c) real.rgb[at + c] = static_cast<std::uint8_t>(170 + real.rgb[at + c] / 3);
    }
  }
  for (const TileCell cell : tiles.cells) {
    const Point<TargetPx> origin = tiles.origin(cell);
    const auto shrunk = [&](std::int64_t v) { return static_cast<std::int64_t>(static_cast<double>(v) / ratio); };
    outline(real, shrunk(origin.x), shrunk(origin.y), shrunk(origin.x + tiles.tile_px),
            shrunk(origin.y + tiles.tile_px));
  }
  return real;
}

std::vector<std::size_t> choose_tiles(const io::TileSet& tiles, int count) {
  std::vector<std::size_t> ranked(tiles.cells.size());
  std::iota(ranked.begin(), ranked.end(), std::size_t{0});
  std::ranges::stable_sort(
      ranked, [&](std::size_t a, std::size_t b) { return tiles.tissue_fraction[a] > tiles.tissue_fraction[b]; });
  const std::size_t wanted = std::min(static_cast<std::size_t>(std::max(0, count)), ranked.size());
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < wanted; ++i) {
    chosen.push_back(ranked[wanted == 1 ? 0 : i * (ranked.size() - 1) / (wanted - 1)]);
  }
  return chosen;
}

io::RgbImage draw_preview(const io::RgbImage& real, const io::RgbImage& synthetic) {
  constexpr std::int64_t kMargin = 24;
  const io::TextStyle style{.cap_height_px = 13, .color = {40, 44, 50}};
  constexpr std::array<std::string_view, 2> kCaptions = {"Real slide", "Virtual slide"};
  const std::int64_t notice_width = io::text_size(kSyntheticNotice, style).width;
  // A column is at least as wide as the words under the virtual slide.
  const std::int64_t column = std::max({real.size.width, synthetic.size.width, notice_width});
  const std::int64_t line = io::text_size(kCaptions[0], style).height + 10;
  const std::int64_t picture_height = std::max(real.size.height, synthetic.size.height);
  io::RgbImage page{{2 * column + 3 * kMargin, picture_height + 2 * line + 2 * kMargin}, {}};
  page.rgb.assign(static_cast<std::size_t>(page.size.area()) * 3, 255);
  for (std::size_t i = 0; i < 2; ++i) {
    const io::RgbImage& picture = i == 0 ? real : synthetic;
    const std::int64_t left = kMargin + static_cast<std::int64_t>(i) * (column + kMargin);
    io::draw_text(page, {left, kMargin}, kCaptions[i], style);
    for (std::int64_t y = 0; y < picture.size.height; ++y) {
      std::copy_n(picture.rgb.begin() + y * picture.size.width * 3, picture.size.width * 3,
                  page.rgb.begin() + ((kMargin + line + y) * page.size.width + left) * 3);
    }
  }
  io::TextStyle notice = style;
  notice.color = {122, 47, 99};
  io::draw_text(page, {2 * kMargin + column, kMargin + line + picture_height + 10}, kSyntheticNotice, notice);
  return page;
}

}  // namespace vtissue::stages
