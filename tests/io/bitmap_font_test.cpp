#include "io/bitmap_font.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/support/synthetic_slide.h"

namespace vtissue::io {
namespace {

using testing::constant_picture;
using testing::cut;

RgbImage drawn(std::string_view text, const TextStyle& style) {
  RgbImage image = constant_picture(text_size(text, style), 255, 255, 255);
  draw_text(image, {0, 0}, text, style);
  return image;
}

TEST(BitmapFont, EveryPrintableCharacterHasItsOwnGlyph) {
  std::set<std::vector<std::uint8_t>> seen;
  for (char c = '!'; c <= '~'; ++c) {
    RgbImage image = constant_picture({40, 40}, 255, 255, 255);
    draw_text(image, {4, 4}, std::string(1, c), {.cap_height_px = 20});
    EXPECT_TRUE(seen.insert(image.rgb).second) << c;
  }
  EXPECT_EQ(seen.count(constant_picture({40, 40}, 255, 255, 255).rgb), 0u);
}

TEST(BitmapFont, MuAndDashAreOneCharacter) {
  const TextStyle style{.cap_height_px = 20};
  EXPECT_EQ(text_size("\u00b5", style), text_size("n", style));
  EXPECT_NE(drawn("\u00b5", style).rgb, drawn("\u00e9", style).rgb);
  EXPECT_EQ(drawn("\u00e9", style).rgb, drawn("\xff", style).rgb);  // no glyph; no UTF-8
}

TEST(BitmapFont, TextStaysInItsBox) {
  const TextStyle style{.cap_height_px = 17, .stroke = 0.2};
  const std::string text = "Synthetic, not for diagnosis (gjpqy) 0.7 µm/px";
  const Size<TargetPx> size = text_size(text, style);
  RgbImage image = constant_picture({size.width + 20, size.height + 20}, 255, 255, 255);
  draw_text(image, {10, 10}, text, style);
  for (std::int64_t y = 0; y < image.size.height; ++y) {
    for (std::int64_t x = 0; x < image.size.width; ++x) {
      if (Box<TargetPx>{{9, 9}, {size.width + 2, size.height + 2}}.contains({x, y})) continue;
      ASSERT_EQ(image.rgb[static_cast<std::size_t>(y * image.size.width + x) * 3], 255) << x << " " << y;
    }
  }
}

TEST(BitmapFont, PiecesFitTogether) {
  const TextStyle style{.cap_height_px = 24, .color = {200, 0, 0}, .opacity = 0.4};
  RgbImage whole = constant_picture({300, 60}, 240, 230, 250);
  draw_text(whole, {5, 8}, "NOT FOR DIAGNOSIS", style);
  for (std::int64_t x = 0; x < 300; x += 37) {
    RgbImage piece = constant_picture({37, 60}, 240, 230, 250);
    draw_text(piece, {5 - x, 8}, "NOT FOR DIAGNOSIS", style);
    const std::int64_t width = std::min<std::int64_t>(37, 300 - x);
    EXPECT_EQ(cut(piece, {{0, 0}, {width, 60}}).rgb, cut(whole, {{x, 0}, {width, 60}}).rgb);
  }
}

}  // namespace
}  // namespace vtissue::io
