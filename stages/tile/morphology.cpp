#include "stages/tile/morphology.h"

#include <algorithm>
#include <cmath>

#include "stages/tile/components.h"

namespace vtissue::stages {
namespace {

/// Running maximum (dilation) or minimum (erosion) of a row, by counting the pixels in the window that decide.
void filter_row(const std::uint8_t* in, std::uint8_t* out, std::int64_t count, int radius, std::uint8_t sought) {
  std::int64_t hits = 0;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(radius, count); ++i) hits += in[i] == sought;
  for (std::int64_t i = 0; i < count; ++i) {
    if (i + radius < count) hits += in[i + radius] == sought;
    out[i] = hits > 0 ? sought : static_cast<std::uint8_t>(1 - sought);
    if (i - radius >= 0) hits -= in[i - radius] == sought;
  }
}

BinaryImage filter(const BinaryImage& image, int radius, bool erosion) {
  if (radius <= 0) return image;
  const std::uint8_t sought = erosion ? 0 : 1;  // the value that wins within the window
  BinaryImage rows = image;
  BinaryImage both = image;
  const std::int64_t width = image.size.width, height = image.size.height;
  for (std::int64_t y = 0; y < height; ++y) {
    filter_row(&image.pixels[y * width], &rows.pixels[y * width], width, radius, sought);
  }
  // All columns at once, a row after the other, as memory lies.
  std::vector<std::uint16_t> hits(static_cast<std::size_t>(width));
  const auto count_row = [&](std::int64_t y, int sign) {
    if (y < 0 || y >= height) return;
    const std::uint8_t* row = &rows.pixels[y * width];
    for (std::size_t x = 0; x < hits.size(); ++x)
      hits[x] = static_cast<std::uint16_t>(hits[x] + sign * (row[x] == sought));
  };
  for (std::int64_t y = 0; y < radius; ++y) count_row(y, 1);
  for (std::int64_t y = 0; y < height; ++y) {
    count_row(y + radius, 1);
    std::uint8_t* out = &both.pixels[y * width];
    for (std::size_t x = 0; x < hits.size(); ++x) out[x] = hits[x] > 0 ? sought : static_cast<std::uint8_t>(1 - sought);
    count_row(y - radius, -1);
  }
  return both;
}

/// Value, square and count of the rows of a window, column by column.
struct ColumnSums {
  std::vector<double> value, square;
  std::vector<std::int32_t> count;

  explicit ColumnSums(std::size_t width) : value(width), square(width), count(width) {}

  void add(const float* values, const std::uint8_t* weights, int sign) {
    const double direction = sign;
    for (std::size_t x = 0; x < value.size(); ++x) {
      const double weighted = weights[x] ? direction * values[x] : 0.0;
      value[x] += weighted;
      square[x] += weighted * values[x];
      count[x] += sign * weights[x];
    }
  }
};

}  // namespace

BinaryImage dilate(const BinaryImage& image, int radius) { return filter(image, radius, false); }

BinaryImage erode(const BinaryImage& image, int radius) { return filter(image, radius, true); }

void flip_components(BinaryImage& image, std::uint8_t value,
                     const std::function<bool(std::span<const std::int64_t> pixels, bool touches_edge)>& flip) {
  const std::int64_t width = image.size.width, height = image.size.height;
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

void flip_parts(BinaryImage& image, std::uint8_t value, const std::function<bool(const Part&)>& flip,
                std::span<const std::uint8_t> marks) {
  const Components parts = find_components(image, value, false);
  std::vector<Part> found(parts.pixels.size());
  for (std::size_t i = 0; i < found.size(); ++i) found[i] = {parts.pixels[i], 0, parts.edge[i] != 0};
  if (!marks.empty()) {
    for (std::size_t i = 0; i < marks.size(); ++i) {
      if (parts.labels[i] >= 0) found[static_cast<std::size_t>(parts.labels[i])].marked += marks[i];
    }
  }
  std::vector<std::uint8_t> flipped(found.size());
  bool any = false;
  for (std::size_t i = 0; i < found.size(); ++i) {
    flipped[i] = flip(found[i]);
    any = any || flipped[i];
  }
  if (!any) return;
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    if (parts.labels[i] >= 0 && flipped[static_cast<std::size_t>(parts.labels[i])])
      image.pixels[i] = static_cast<std::uint8_t>(1 - value);
  }
}

LocalStatistics local_statistics(std::span<const float> values, std::span<const std::uint8_t> weights,
                                 Size<LevelPx> size, int radius) {
  const std::int64_t width = size.width, height = size.height;
  LocalStatistics result;
  result.mean.assign(values.size(), 0);
  result.deviation.assign(values.size(), 0);
  // Sums begin anew every so many rows, wherever threads would part the picture: rounding stays small and the same.
  const std::int64_t band = std::max<std::int64_t>(128, 4 * (2 * std::int64_t{radius} + 1));
  std::vector<double> value(static_cast<std::size_t>(width) + 1), square(value.size());
  std::vector<std::int32_t> count(value.size());
  std::vector<double> share_of(static_cast<std::size_t>((2 * radius + 1) * (2 * radius + 1)) + 1);
  for (std::size_t n = 1; n < share_of.size(); ++n) share_of[n] = 1.0 / static_cast<double>(n);
  for (std::int64_t top = 0; top < height; top += band) {
    ColumnSums columns(static_cast<std::size_t>(width));
    const auto add_row = [&](std::int64_t y, int sign) {
      if (y >= 0 && y < height) columns.add(&values[y * width], &weights[y * width], sign);
    };
    for (std::int64_t y = top - radius; y < top + radius; ++y) add_row(y, 1);
    for (std::int64_t y = top; y < std::min(height, top + band); ++y) {
      add_row(y + radius, 1);
      for (std::size_t x = 0; x + 1 < value.size(); ++x) {
        value[x + 1] = value[x] + columns.value[x];
        square[x + 1] = square[x] + columns.square[x];
        count[x + 1] = count[x] + columns.count[x];
      }
      for (std::int64_t x = 0; x < width; ++x) {
        const auto left = static_cast<std::size_t>(std::max<std::int64_t>(0, x - radius));
        const auto right = static_cast<std::size_t>(std::min(width, x + radius + 1));
        const std::int32_t n = count[right] - count[left];
        if (n == 0) continue;
        const double share = share_of[static_cast<std::size_t>(n)];
        const double mean = (value[right] - value[left]) * share;
        const double mean_square = (square[right] - square[left]) * share;
        const auto pixel = static_cast<std::size_t>(y * width + x);
        result.mean[pixel] = static_cast<float>(mean);
        result.deviation[pixel] = std::sqrt(static_cast<float>(std::max(0.0, mean_square - mean * mean)));
      }
      add_row(y - radius, -1);
    }
  }
  return result;
}

}  // namespace vtissue::stages
