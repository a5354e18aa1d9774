#include "stages/stitch/slide_cards.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "io/bitmap_font.h"
#include "stages/stitch/overview.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {
namespace {

constexpr Size<TargetPx> kLabelSize = {512, 384};
constexpr Size<TargetPx> kMacroSize = {1200, 400};  // 3 : 1, a glass slide
constexpr std::int64_t kFrostedWidth = 320;         // its end that takes writing
constexpr std::int64_t kMargin = 24;
constexpr io::Rgb kInk = {32, 32, 36};
constexpr io::Rgb kNoticeInk = {122, 47, 99};

io::RgbImage plain(Size<TargetPx> size, std::uint8_t value) {
  return {size, std::vector<std::uint8_t>(static_cast<std::size_t>(size.area()) * 3, value)};
}

/// The style at which the text is `width` wide, but not over `cap_height_px`.
io::TextStyle fitting(std::string_view text, std::int64_t width, double cap_height_px, io::Rgb color) {
  io::TextStyle style{.cap_height_px = cap_height_px, .color = color};
  while (style.cap_height_px > 7 && io::text_size(text, style).width > width) style.cap_height_px -= 0.5;
  return style;
}

/// Draws one line under another; returns where the next begins.
std::int64_t draw_line(io::RgbImage& image, Point<TargetPx> origin, std::int64_t width, std::string_view text,
                       double cap_height_px, io::Rgb color) {
  const io::TextStyle style = fitting(text, width, cap_height_px, color);
  io::draw_text(image, origin, text, style);
  return origin.y + io::text_size(text, style).height + static_cast<std::int64_t>(cap_height_px / 2);
}

void paste(const io::RgbImage& picture, Point<TargetPx> at, io::RgbImage& onto) {
  const std::int64_t row_bytes = picture.size.width * 3;
  for (std::int64_t y = 0; y < picture.size.height; ++y) {
    std::copy_n(picture.rgb.begin() + y * row_bytes, row_bytes,
                onto.rgb.begin() + ((at.y + y) * onto.size.width + at.x) * 3);
  }
}

std::vector<std::string> details(const CardText& text) {
  return {text.generator, fmt::format("seed {}", text.seed), fmt::format("{} µm/px", text.mpp)};
}

}  // namespace

io::RgbImage draw_label(const CardText& text) {
  io::RgbImage card = plain(kLabelSize, 255);
  const std::int64_t width = kLabelSize.width - 2 * kMargin;
  std::int64_t y = draw_line(card, {kMargin, kMargin}, width, kSyntheticNotice, 40, kNoticeInk);
  y = draw_line(card, {kMargin, y + 8}, width, "SYNTHETIC", 60, kInk);
  y = draw_line(card, {kMargin, y}, width, "NOT FOR DIAGNOSIS", 40, kInk) + 16;
  for (const std::string& line : details(text)) y = draw_line(card, {kMargin, y}, width, line, 20, kInk);
  return card;
}

io::RgbImage draw_macro(const CardText& text, const io::RgbImage& overview) {
  io::RgbImage slide = plain(kMacroSize, 236);
  for (std::int64_t y = 0; y < kMacroSize.height; ++y) {
    std::fill_n(slide.rgb.begin() + y * kMacroSize.width * 3, kFrostedWidth * 3, std::uint8_t{252});
  }
  const std::int64_t width = kFrostedWidth - 2 * kMargin;
  std::int64_t y = draw_line(slide, {kMargin, 64}, width, "SYNTHETIC", 36, kInk);
  y = draw_line(slide, {kMargin, y}, width, "NOT FOR DIAGNOSIS", 36, kInk) + 12;
  for (const std::string& line : details(text)) y = draw_line(slide, {kMargin, y}, width, line, 16, kInk);

  const Size<TargetPx> room = {kMacroSize.width - kFrostedWidth - 2 * kMargin, kMacroSize.height - 2 * kMargin};
  io::RgbImage picture = fit_picture(overview, room);
  mark_picture(picture);
  paste(picture,
        {kFrostedWidth + kMargin + (room.width - picture.size.width) / 2,
         kMargin + (room.height - picture.size.height) / 2},
        slide);
  // Across the glass as well: a small overview has no room for the words.
  const io::TextStyle style = fitting(kSyntheticNotice, room.width, 30, kNoticeInk);
  io::draw_text(slide,
                {kFrostedWidth + kMargin, kMacroSize.height - kMargin - io::text_size(kSyntheticNotice, style).height},
                kSyntheticNotice, style);
  return slide;
}

}  // namespace vtissue::stages
