#include "stages/report/report_pictures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string_view>

#include "core/error.h"
#include "io/bitmap_font.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {
namespace {

constexpr io::Rgb kOutline = {28, 122, 128};
constexpr std::int64_t kPartPx = 64;

/// What stands for pixels that cannot be read: neither black nor white, and nothing tissue looks like.
std::vector<std::uint8_t> hatched(Box<TargetPx> part) {
  std::vector<std::uint8_t> rgb;
  rgb.reserve(static_cast<std::size_t>(part.size.area()) * 3);
  for (std::int64_t y = 0; y < part.size.height; ++y) {
    for (std::int64_t x = 0; x < part.size.width; ++x) {
      const bool line = (part.origin.x + x + part.origin.y + y) % 8 < 2;
      rgb.insert(rgb.end(), 3, static_cast<std::uint8_t>(line ? 120 : 200));
    }
  }
  return rgb;
}

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

io::RgbImage read_overview(const io::TileReader& reader, const io::TileSet& tiles, double ratio,
                           std::size_t* unreadable) {
  const Size<TargetPx> size = overview_size(tiles, ratio);
  try {
    return {size, reader.read({{0, 0}, size})};
  } catch (const Error& e) {
    if (unreadable == nullptr || e.code() != ErrorCode::kBadInput) throw;
  }
  // In parts, so that one damaged tile of the file costs no more of the picture than it covers.
  io::RgbImage picture{size, std::vector<std::uint8_t>(static_cast<std::size_t>(size.area()) * 3)};
  for (std::int64_t top = 0; top < size.height; top += kPartPx) {
    for (std::int64_t left = 0; left < size.width; left += kPartPx) {
      const Box<TargetPx> part{{left, top},
                               {std::min(kPartPx, size.width - left), std::min(kPartPx, size.height - top)}};
      std::vector<std::uint8_t> rgb;
      try {
        rgb = reader.read(part);
      } catch (const Error& e) {
        if (e.code() != ErrorCode::kBadInput) throw;
        rgb = hatched(part);
        ++*unreadable;
      }
      for (std::int64_t y = 0; y < part.size.height; ++y) {
        std::copy_n(rgb.begin() + y * part.size.width * 3, part.size.width * 3,
                    picture.rgb.begin() + ((top + y) * size.width + left) * 3);
      }
    }
  }
  return picture;
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

std::vector<std::size_t> choose_tiles(const io::TileSet& tiles, int count,
                                      const std::function<bool(std::size_t index)>& usable) {
  std::vector<std::size_t> ranked(tiles.cells.size());
  std::iota(ranked.begin(), ranked.end(), std::size_t{0});
  std::ranges::stable_sort(
      ranked, [&](std::size_t a, std::size_t b) { return tiles.tissue_fraction[a] > tiles.tissue_fraction[b]; });
  const std::size_t wanted = std::min(static_cast<std::size_t>(std::max(0, count)), ranked.size());
  std::vector<std::uint8_t> asked(ranked.size(), 0);
  std::vector<std::size_t> chosen;
  const auto take = [&](std::size_t rank) {
    if (asked[rank] != 0) return false;
    asked[rank] = 1;
    if (!usable(ranked[rank])) return false;
    chosen.push_back(ranked[rank]);
    return true;
  };
  for (std::size_t i = 0; i < wanted; ++i) {
    const std::size_t start = wanted == 1 ? 0 : i * (ranked.size() - 1) / (wanted - 1);
    bool found = false;
    for (std::size_t rank = start; rank < ranked.size() && !found; ++rank) found = take(rank);
    for (std::size_t rank = start; rank > 0 && !found; --rank) found = take(rank - 1);
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
