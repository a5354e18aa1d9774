#include "tests/support/synthetic_slide.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace vtissue::testing {
namespace {

std::uint32_t hash(std::int64_t x, std::int64_t y, std::uint32_t seed) {
  auto h =
      static_cast<std::uint32_t>(x) * 0x8da6b343u ^ static_cast<std::uint32_t>(y) * 0xd8163841u ^ seed * 0xcb1ab31fu;
  h ^= h >> 16;
  h *= 0x7feb352du;
  h ^= h >> 15;
  h *= 0x846ca68bu;
  return h ^ h >> 16;
}

/// 0..1
double random_at(std::int64_t x, std::int64_t y, std::uint32_t seed) { return (hash(x, y, seed) >> 8) / 16777216.0; }

/// Smooth noise, 0..1, of features about `period` pixels wide.
double value_noise(double x, double y, double period, std::uint32_t seed) {
  const double gx = x / period, gy = y / period;
  const auto ix = static_cast<std::int64_t>(std::floor(gx)), iy = static_cast<std::int64_t>(std::floor(gy));
  const auto smooth = [](double t) { return t * t * (3 - 2 * t); };
  const double tx = smooth(gx - static_cast<double>(ix)), ty = smooth(gy - static_cast<double>(iy));
  const double top = random_at(ix, iy, seed) * (1 - tx) + random_at(ix + 1, iy, seed) * tx;
  const double bottom = random_at(ix, iy + 1, seed) * (1 - tx) + random_at(ix + 1, iy + 1, seed) * tx;
  return top * (1 - ty) + bottom * ty;
}

/// How much of a nucleus is at a pixel, 0..1: one nucleus in a cell of a jittered grid.
double nucleus_at(double x, double y, double cell_px, double radius_px, double share, std::uint32_t seed) {
  const auto cx = static_cast<std::int64_t>(std::floor(x / cell_px)),
             cy = static_cast<std::int64_t>(std::floor(y / cell_px));
  double most = 0;
  for (std::int64_t j = cy - 1; j <= cy + 1; ++j) {
    for (std::int64_t i = cx - 1; i <= cx + 1; ++i) {
      if (random_at(i, j, seed) > share) continue;
      const double dx = x - (static_cast<double>(i) + random_at(i, j, seed + 1)) * cell_px;
      const double dy = y - (static_cast<double>(j) + random_at(i, j, seed + 2)) * cell_px;
      const double radius = radius_px * (0.75 + 0.5 * random_at(i, j, seed + 3));
      most = std::max(most, std::clamp(radius - std::sqrt(dx * dx + dy * dy) + 0.5, 0.0, 1.0));
    }
  }
  return most;
}

}  // namespace

io::RgbImage tissue_picture(Size<TargetPx> size, double mpp, std::uint32_t seed) {
  constexpr std::array<double, 3> kStroma{236, 170, 200}, kCytoplasm{205, 120, 170}, kNucleus{95, 60, 130};
  io::RgbImage picture{size, std::vector<std::uint8_t>(static_cast<std::size_t>(size.area()) * 3)};
  const auto width = static_cast<double>(size.width), height = static_cast<double>(size.height);
  const double radius_px = 4 / mpp, cell_px = 14 / mpp;
  std::uint8_t* out = picture.rgb.data();
  for (std::int64_t iy = 0; iy < size.height; ++iy) {
    for (std::int64_t ix = 0; ix < size.width; ++ix, out += 3) {
      const auto x = static_cast<double>(ix), y = static_cast<double>(iy);
      const double ex = (x - width / 2) / (width * 0.40), ey = (y - height / 2) / (height * 0.38);
      const double hx = (x - width * 0.62) / (width * 0.06), hy = (y - height * 0.45) / (height * 0.06);
      const bool tissue = ex * ex + ey * ey < 1 && hx * hx + hy * hy > 1;
      const double grain = random_at(ix, iy, seed + 11) - 0.5;
      if (!tissue) {
        for (int c = 0; c < 3; ++c) out[c] = static_cast<std::uint8_t>(std::lround(245 + 3 * grain));
        continue;
      }
      const double density = value_noise(x, y, 90 / mpp, seed + 5);  // clusters of cells and bands of stroma
      const double fibre = value_noise(x, y, 6 / mpp, seed + 6);
      const double nucleus = nucleus_at(x, y, cell_px, radius_px, 0.25 + 0.7 * density, seed + 20);
      for (std::size_t c = 0; c < 3; ++c) {
        const double ground = kStroma[c] * (1 - density) + kCytoplasm[c] * density + 24 * (fibre - 0.5) + 8 * grain;
        const double value = ground * (1 - nucleus) + (kNucleus[c] + 20 * grain) * nucleus;
        out[c] = static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0, 255.0)));
      }
    }
  }
  return picture;
}

io::RgbImage constant_picture(Size<TargetPx> size, std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  io::RgbImage picture{size, {}};
  picture.rgb.reserve(static_cast<std::size_t>(size.area()) * 3);
  for (std::int64_t i = 0; i < size.area(); ++i) picture.rgb.insert(picture.rgb.end(), {red, green, blue});
  return picture;
}

io::RgbImage noise_picture(Size<TargetPx> size, std::uint32_t seed) {
  io::RgbImage picture{size, std::vector<std::uint8_t>(static_cast<std::size_t>(size.area()) * 3)};
  for (std::size_t i = 0; i < picture.rgb.size(); ++i) {
    picture.rgb[i] = static_cast<std::uint8_t>(hash(static_cast<std::int64_t>(i), 0, seed) >> 24);
  }
  return picture;
}

io::RgbImage cut(const io::RgbImage& picture, Box<TargetPx> box) {
  io::RgbImage piece{box.size, std::vector<std::uint8_t>(static_cast<std::size_t>(box.size.area()) * 3, 255)};
  const std::int64_t left = std::max<std::int64_t>(0, box.origin.x);
  const std::int64_t right = std::min(picture.size.width, box.origin.x + box.size.width);
  for (std::int64_t y = 0; y < box.size.height; ++y) {
    const std::int64_t from = box.origin.y + y;
    if (from < 0 || from >= picture.size.height || left >= right) continue;
    std::copy_n(picture.rgb.data() + (from * picture.size.width + left) * 3, (right - left) * 3,
                piece.rgb.data() + (y * box.size.width + left - box.origin.x) * 3);
  }
  return piece;
}

void write_slide(const std::filesystem::path& path, const io::RgbImage& picture, io::PyramidOptions options) {
  options.size = picture.size;
  const auto part = [&](int bx, int by) {
    const std::int64_t block = options.block_px;
    return io::encode_block(options, bx, by, cut(picture, {{bx * block, by * block}, {block, block}}).rgb);
  };
  io::write_pyramid(path, options, part, {}, {});
}

void write_slide(const std::filesystem::path& path, const io::RgbImage& picture, double mpp) {
  io::PyramidOptions options;
  options.mpp = mpp;
  options.codec = io::PyramidCodec::kDeflate;
  write_slide(path, picture, options);
}

}  // namespace vtissue::testing
