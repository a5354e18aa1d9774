#include "io/bitmap_font.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace vtissue::io {
namespace {

/// Strokes on a grid of units, a capital being 12 high: polylines separated by blanks, a point being
/// its x and its y as one digit each of base 17 (0-9a-g). y runs down from the top of capitals (0) over
/// the top of small letters (4) and the base line (c) to the bottom of descenders (g).
struct Glyph {
  char32_t code;
  int width;
  std::string_view strokes;
};

constexpr double kCapUnits = 12, kDescenderUnits = 16, kGapUnits = 4;

constexpr Glyph kGlyphs[] = {
    {U' ', 4, ""},
    {U'!', 0, "0008 0c0c"},
    {U'"', 2, "0003 2023"},
    {U'#', 7, "301c 604c 0474 0868"},
    {U'$', 8, "82602002042666888a6c2c0a 404c"},
    {U'%', 6, "600c 0020220200 4a6a6c4c4a"},
    {U'&', 8, "8c1311204052541708090a2c4c87"},
    {U'\'', 0, "0003"},
    {U'(', 2, "2003092c"},
    {U')', 2, "0023290c"},
    {U'*', 4, "2329 0448 4408"},
    {U'+', 6, "343a 0767"},
    {U',', 1, "1b0e"},
    {U'-', 4, "0747"},
    {U'.', 0, "0c0c"},
    {U'/', 5, "500c"},
    {U'0', 6, "2040626a4c2c0a0220"},
    {U'1', 4, "02202c 0c4c"},
    {U'2', 6, "02204062640c6c"},
    {U'3', 6, "022040626446686a4c2c0a 2646"},
    {U'4', 6, "4c400868"},
    {U'5', 6, "60000545676a4c2c0a"},
    {U'6', 6, "624020030a2c4c6a68462608"},
    {U'7', 6, "00602c"},
    {U'8', 6, "260402204062644626080a2c4c6a6846"},
    {U'9', 6, "0a2c4c6a62402002042646 4664"},
    {U':', 0, "0505 0c0c"},
    {U';', 1, "1515 1b0e"},
    {U'<', 6, "63076b"},
    {U'=', 6, "0565 0969"},
    {U'>', 6, "03670b"},
    {U'?', 6, "02204062643638 3c3c"},
    {U'@', 8, "664426283858688683602003092c6c"},
    {U'A', 8, "0c408c 1888"},
    {U'B', 8, "0c006082846606 66888a6c0c"},
    {U'C', 8, "826020020a2c6c8a"},
    {U'D', 8, "0c005083895c0c"},
    {U'E', 7, "70000c7c 0656"},
    {U'F', 7, "70000c 0656"},
    {U'G', 8, "826020020a2c6c8a8757"},
    {U'H', 8, "000c 808c 0686"},
    {U'I', 4, "0040 202c 0c4c"},
    {U'J', 7, "707a5c2c0a"},
    {U'K', 8, "000c 8007 358c"},
    {U'L', 7, "000c7c"},
    {U'M', 8, "0c0046808c"},
    {U'N', 8, "0c008c80"},
    {U'O', 8, "2060828a6c2c0a0220"},
    {U'P', 8, "0c006082856707"},
    {U'Q', 8, "2060828a6c2c0a0220 588c"},
    {U'R', 8, "0c006082856707 478c"},
    {U'S', 8, "82602002042666888a6c2c0a"},
    {U'T', 8, "0080 404c"},
    {U'U', 8, "000a2c6c8a80"},
    {U'V', 8, "004c80"},
    {U'W', 8, "002c446c80"},
    {U'X', 8, "008c 800c"},
    {U'Y', 8, "004680 464c"},
    {U'Z', 8, "00800c8c"},
    {U'[', 2, "20000c2c"},
    {U'\\', 5, "005c"},
    {U']', 2, "00202c0c"},
    {U'^', 6, "043064"},
    {U'_', 6, "0d6d"},
    {U'`', 2, "0022"},
    {U'a', 6, "052444666c 6727090a2c4c6a"},
    {U'b', 6, "000c 062444666a4c2c0a"},
    {U'c', 6, "664424060a2c4c6a"},
    {U'd', 6, "606c 664424060a2c4c6a"},
    {U'e', 6, "0868664424060a2c4c6b"},
    {U'f', 4, "4130212c 0444"},
    {U'g', 6, "646e4g2g0f 664424060a2c4c6a"},
    {U'h', 6, "000c 062444666c"},
    {U'i', 0, "040c 0000"},
    {U'j', 2, "242e1g0g 2020"},
    {U'k', 6, "000c 6408 276c"},
    {U'l', 1, "000b1c"},
    {U'm', 8, "040c 061434464c 465474868c"},
    {U'n', 6, "040c 062444666c"},
    {U'o', 6, "2444666a4c2c0a0624"},
    {U'p', 6, "040g 062444666a4c2c0a"},
    {U'q', 6, "646g 664424060a2c4c6a"},
    {U'r', 4, "040c 062444"},
    {U's', 6, "6544240628486a4c2c0b"},
    {U't', 4, "202a3c4c 0444"},
    {U'u', 6, "040a2c4c6a 646c"},
    {U'v', 6, "043c64"},
    {U'w', 8, "042c456c84"},
    {U'x', 6, "046c 640c"},
    {U'y', 6, "043c 643c1g0g"},
    {U'z', 6, "04640c6c"},
    {U'{', 3, "3020252607162a2c3c"},
    {U'|', 0, "000e"},
    {U'}', 3, "0010151637261a1c0c"},
    {U'~', 6, "07254967"},
    {U'\u00b0', 3, "102031322313020110"},
    {U'\u00b5', 6, "040g 0a2c4c6a 646c"},
    {U'\u00b7', 0, "0707"},
    {U'\u00d7', 6, "056b 650b"},
    {U'\u03bc', 6, "040g 0a2c4c6a 646c"},
    {U'\u2013', 6, "0767"},
    {U'\u2014', 8, "0787"},
};
constexpr Glyph kUnknown{U'\ufffd', 6, "00606c0c00"};

const Glyph& glyph_of(char32_t code) {
  const auto* const found =
      std::find_if(std::begin(kGlyphs), std::end(kGlyphs), [&](const Glyph& g) { return g.code == code; });
  return found == std::end(kGlyphs) ? kUnknown : *found;
}

/// A byte that is not UTF-8 becomes U+FFFD.
std::vector<char32_t> decode_utf8(std::string_view text) {
  std::vector<char32_t> codes;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 0;
    if (length == 0 || i + length > text.size()) {
      codes.push_back(U'\ufffd');
      ++i;
      continue;
    }
    auto code = static_cast<char32_t>(length == 1 ? lead : lead & (0xff >> (length + 1)));
    for (std::size_t k = 1; k < length; ++k) code = code << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3f);
    codes.push_back(code);
    i += length;
  }
  return codes;
}

struct Segment {
  double x0, y0, x1, y1;
};

int grid_value(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/// In pixels, relative to the glyph's origin.
std::vector<Segment> segments_of(const Glyph& glyph, double unit) {
  std::vector<Segment> segments;
  std::string_view rest = glyph.strokes;
  while (!rest.empty()) {
    const std::string_view stroke = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), stroke.size() + 1));
    for (std::size_t i = 0; i + 4 <= stroke.size(); i += 2) {
      segments.push_back({grid_value(stroke[i]) * unit, grid_value(stroke[i + 1]) * unit,
                          grid_value(stroke[i + 2]) * unit, grid_value(stroke[i + 3]) * unit});
    }
  }
  return segments;
}

double distance(const Segment& s, double x, double y) {
  const double dx = s.x1 - s.x0, dy = s.y1 - s.y0, length = dx * dx + dy * dy;
  const double along = length > 0 ? std::clamp(((x - s.x0) * dx + (y - s.y0) * dy) / length, 0.0, 1.0) : 0.0;
  const double ex = x - s.x0 - along * dx, ey = y - s.y0 - along * dy;
  return std::sqrt(ex * ex + ey * ey);
}

double half_stroke(const TextStyle& style) { return std::max(1.0, style.stroke * style.cap_height_px) / 2; }

void blend(std::uint8_t* pixel, const TextStyle& style, double coverage) {
  const int alpha = static_cast<int>(std::lround(255 * std::clamp(style.opacity, 0.0, 1.0) * coverage));
  const std::uint8_t color[3] = {style.color.red, style.color.green, style.color.blue};
  for (int c = 0; c < 3; ++c)
    pixel[c] = static_cast<std::uint8_t>((pixel[c] * (255 - alpha) + color[c] * alpha + 127) / 255);
}

/// `left`, `top`: the image's pixel position of the glyph's origin.
void draw_glyph(RgbImage& image, double left, double top, const Glyph& glyph, const TextStyle& style, double unit) {
  const std::vector<Segment> segments = segments_of(glyph, unit);
  const double half = half_stroke(style), reach = half + 1;
  const auto clip = [](double value, std::int64_t limit) {
    return static_cast<std::int64_t>(std::clamp(std::floor(value), 0.0, static_cast<double>(limit)));
  };
  const std::int64_t x_begin = clip(left - reach, image.size.width);
  const std::int64_t x_end = clip(left + glyph.width * unit + reach + 1, image.size.width);
  const std::int64_t y_begin = clip(top - reach, image.size.height);
  const std::int64_t y_end = clip(top + kDescenderUnits * unit + reach + 1, image.size.height);
  for (std::int64_t y = y_begin; y < y_end; ++y) {
    for (std::int64_t x = x_begin; x < x_end; ++x) {
      double nearest = reach;
      const double px = static_cast<double>(x) + 0.5 - left, py = static_cast<double>(y) + 0.5 - top;
      for (const Segment& segment : segments) nearest = std::min(nearest, distance(segment, px, py));
      const double coverage = std::clamp(half + 0.5 - nearest, 0.0, 1.0);
      if (coverage > 0) blend(image.rgb.data() + (y * image.size.width + x) * 3, style, coverage);
    }
  }
}

}  // namespace

Size<TargetPx> text_size(std::string_view utf8, const TextStyle& style) {
  const double unit = style.cap_height_px / kCapUnits;
  double units = 0;
  for (const char32_t code : decode_utf8(utf8)) units += glyph_of(code).width + kGapUnits;
  units = std::max(0.0, units - kGapUnits);
  const double stroke = 2 * half_stroke(style);
  return {static_cast<std::int64_t>(std::ceil(units * unit + stroke)),
          static_cast<std::int64_t>(std::ceil(kDescenderUnits * unit + stroke))};
}

void draw_text(RgbImage& image, Point<TargetPx> origin, std::string_view utf8, const TextStyle& style) {
  const double unit = style.cap_height_px / kCapUnits, half = half_stroke(style);
  double x = static_cast<double>(origin.x) + half;
  const double y = static_cast<double>(origin.y) + half;
  for (const char32_t code : decode_utf8(utf8)) {
    const Glyph& glyph = glyph_of(code);
    draw_glyph(image, x, y, glyph, style, unit);
    x += (glyph.width + kGapUnits) * unit;
  }
}

}  // namespace vtissue::io
