#include "stages/tile/morphology.h"

#include <algorithm>
#include <cmath>

namespace vtissue::stages {
namespace {

/// Running maximum (dilation) or minimum (erosion) of a line with `stride`, by counting set pixels in the window.
void filter_line(const std::uint8_t* in, std::uint8_t* out, std::int64_t count, std::int64_t stride, int radius,
                 bool erosion) {
  const std::uint8_t sought = erosion ? 0 : 1;  // the value that wins within the window
  std::int64_t hits = 0;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(radius, count); ++i) hits += in[i * stride] == sought;
  for (std::int64_t i = 0; i < count; ++i) {
    if (i + radius < count) hits += in[(i + radius) * stride] == sought;
    out[i * stride] = hits > 0 ? sought : static_cast<std::uint8_t>(1 - sought);
    if (i - radius >= 0) hits -= in[(i - radius) * stride] == sought;
  }
}

BinaryImage filter(const BinaryImage& image, int radius, bool erosion) {
  if (radius <= 0) return image;
  BinaryImage rows = image;
  BinaryImage both = image;
  const auto [width, height] = image.size;
  for (std::int64_t y = 0; y < height; ++y) {
    filter_line(&image.pixels[y * width], &rows.pixels[y * width], width, 1, radius, erosion);
  }
  for (std::int64_t x = 0; x < width; ++x) {
    filter_line(&rows.pixels[x], &both.pixels[x], height, width, radius, erosion);
  }
  return both;
}

}  // namespace

BinaryImage dilate(const BinaryImage& image, int radius) { return filter(image, radius, false); }

BinaryImage erode(const BinaryImage& image, int radius) { return filter(image, radius, true); }

void flip_components(BinaryImage& image, std::uint8_t value,
                     const std::function<bool(std::span<const std::int64_t> pixels, bool touches_edge)>& flip) {
  const auto [width, height] = image.size;
  std::vector<std::uint8_t> visited(image.pixels.size(), 0);
  std::vector<std::int64_t> component;
  for (std::int64_t start = 0; start < image.size.area(); ++start) {
    if (visited[start] || image.pixels[start] != value) continue;
    component.assign(1, start);
    visited[start] = 1;
    bool touches_edge = false;
    const auto visit = [&](std::int64_t pixel) {
      if (visited[pixel] || image.pixels[pixel] != value) return;
      visited[pixel] = 1;
      component.push_back(pixel);
    };
    for (std::size_t next = 0; next < component.size(); ++next) {
      const std::int64_t pixel = component[next];
      const std::int64_t x = pixel % width;
      const std::int64_t y = pixel / width;
      touches_edge |= x == 0 || y == 0 || x == width - 1 || y == height - 1;
      if (x > 0) visit(pixel - 1);
      if (x + 1 < width) visit(pixel + 1);
      if (y > 0) visit(pixel - width);
      if (y + 1 < height) visit(pixel + width);
    }
    if (!flip(component, touches_edge)) continue;
    for (const std::int64_t pixel : component) image.pixels[pixel] = static_cast<std::uint8_t>(1 - value);
  }
}

LocalStatistics local_statistics(std::span<const float> values, std::span<const std::uint8_t> weights,
                                 Size<LevelPx> size, int radius) {
  const auto [width, height] = size;
  struct Sums {
    double value = 0, square = 0;
    std::int32_t count = 0;
  };
  // Row y + 1, column x + 1 of the table holds the sums over [0, y] x [0, x].
  const std::int64_t pitch = width + 1;
  std::vector<Sums> table(static_cast<std::size_t>(pitch * (height + 1)));
  for (std::int64_t y = 0; y < height; ++y) {
    Sums row;
    for (std::int64_t x = 0; x < width; ++x) {
      if (weights[y * width + x]) {
        const double value = values[y * width + x];
        row.value += value;
        row.square += value * value;
        ++row.count;
      }
      const Sums& above = table[y * pitch + x + 1];
      table[(y + 1) * pitch + x + 1] = {row.value + above.value, row.square + above.square, row.count + above.count};
    }
  }

  LocalStatistics result;
  result.mean.assign(values.size(), 0);
  result.deviation.assign(values.size(), 0);
  result.count.assign(values.size(), 0);
  for (std::int64_t y = 0; y < height; ++y) {
    const std::int64_t top = std::max<std::int64_t>(0, y - radius) * pitch;
    const std::int64_t bottom = std::min(height, y + radius + 1) * pitch;
    for (std::int64_t x = 0; x < width; ++x) {
      const std::int64_t left = std::max<std::int64_t>(0, x - radius);
      const std::int64_t right = std::min(width, x + radius + 1);
      const Sums &a = table[top + left], &b = table[top + right], &c = table[bottom + left], &d = table[bottom + right];
      const std::int32_t count = d.count - b.count - c.count + a.count;
      if (count == 0) continue;
      const double mean = (d.value - b.value - c.value + a.value) / count;
      const double square = (d.square - b.square - c.square + a.square) / count;
      const std::size_t pixel = static_cast<std::size_t>(y * width + x);
      result.count[pixel] = count;
      result.mean[pixel] = static_cast<float>(mean);
      result.deviation[pixel] = static_cast<float>(std::sqrt(std::max(0.0, square - mean * mean)));
    }
  }
  return result;
}

}  // namespace vtissue::stages
