#include "stages/evaluate/seam_metric.h"

#include <algorithm>
#include <cmath>

namespace vtissue::stages {
namespace {

constexpr int kLinePx =
    8;  // lines that are compared lie this far apart: the decoder's grain, and JPEG's in a real slide
constexpr std::int64_t kFewestPairs = 1000;

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace

SeamMetric::SeamMetric(const io::TileSet& tiles) : tiles_(tiles) {
  for (auto& phases : phases_) phases.resize(static_cast<std::size_t>(std::max(tiles.tile_px / kLinePx, 1)));
}

bool SeamMetric::is_tile(std::int64_t column, std::int64_t row) const {
  const TileCell cell{static_cast<std::int32_t>(2 * column), static_cast<std::int32_t>(2 * row)};
  return std::ranges::binary_search(tiles_.cells, cell);
}

void SeamMetric::add(Box<TargetPx> box, std::span<const std::uint8_t> rgb) {
  const std::int64_t width = box.size.width, height = box.size.height, tile = tiles_.tile_px;
  std::vector<float> luminance(static_cast<std::size_t>(width * height));
  for (std::size_t i = 0; i < luminance.size(); ++i) {
    luminance[i] = static_cast<float>(rgb[3 * i] + rgb[3 * i + 1] + rgb[3 * i + 2]) / 3;
  }
  // Which tiles of the grid under the box are tissue.
  const std::int64_t left = box.origin.x / tile, top = box.origin.y / tile;
  const std::int64_t columns = (box.origin.x + width - 1) / tile - left + 1;
  const std::int64_t rows = (box.origin.y + height - 1) / tile - top + 1;
  std::vector<bool> is_tissue;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) is_tissue.push_back(is_tile(left + column, top + row));
  }
  const auto tissue = [&](std::int64_t x, std::int64_t y) {
    return is_tissue[static_cast<std::size_t>(((box.origin.y + y) / tile - top) * columns + (box.origin.x + x) / tile -
                                              left)];
  };
  add_lines(
      0, box,
      [&](std::int64_t along, std::int64_t at) { return luminance[static_cast<std::size_t>(along * width + at)]; },
      [&](std::int64_t along, std::int64_t at) { return tissue(at, along); });
  add_lines(
      1, box,
      [&](std::int64_t along, std::int64_t at) { return luminance[static_cast<std::size_t>(at * width + along)]; },
      [&](std::int64_t along, std::int64_t at) { return tissue(along, at); });
  add_colours(0, box, rgb);
  add_colours(1, box, rgb);
}

template <typename Luminance, typename Tissue>
void SeamMetric::add_lines(std::size_t axis, Box<TargetPx> box, const Luminance& luminance, const Tissue& tissue) {
  const std::int64_t origin = axis == 0 ? box.origin.x : box.origin.y;
  const std::int64_t length = axis == 0 ? box.size.width : box.size.height;
  const std::int64_t along_length = axis == 0 ? box.size.height : box.size.width;
  for (std::int64_t along = 0; along < along_length; ++along) {
    for (std::int64_t at = 1; at < length; ++at) {
      if (!tissue(along, at) || !tissue(along, at - 1)) continue;
      const double step = luminance(along, at) - luminance(along, at - 1);
      energy_.add(step * step);
      if ((origin + at) % kLinePx != 0) continue;
      phases_[axis][static_cast<std::size_t>((origin + at) % tiles_.tile_px / kLinePx) % phases_[axis].size()].add(
          std::abs(step));
    }
  }
}

void SeamMetric::add_colours(std::size_t axis, Box<TargetPx> box, std::span<const std::uint8_t> rgb) {
  const std::int64_t tile = tiles_.tile_px, strip = std::max<std::int64_t>(tile / 8, 1);
  const std::int64_t origin = axis == 0 ? box.origin.x : box.origin.y;
  const std::int64_t other = axis == 0 ? box.origin.y : box.origin.x;
  const std::int64_t length = axis == 0 ? box.size.width : box.size.height;
  const std::int64_t other_length = axis == 0 ? box.size.height : box.size.width;
  const auto pixel = [&](std::int64_t at, std::int64_t along) {
    return static_cast<std::size_t>(axis == 0 ? along * box.size.width + at : at * box.size.width + along) * 3;
  };
  // Tiles that lie in the box as a whole along the line.
  for (std::int64_t row = (other + tile - 1) / tile; (row + 1) * tile <= other + other_length; ++row) {
    for (std::int64_t line = (origin + strip + tile / 4 - 1) / (tile / 4) * (tile / 4); line + strip <= origin + length;
         line += tile / 4) {
      const std::int64_t before = (line - 1) / tile, behind = line / tile;
      const bool on_tissue =
          axis == 0 ? is_tile(before, row) && is_tile(behind, row) : is_tile(row, before) && is_tile(row, behind);
      const std::int64_t phase = line % tile;
      if (!on_tissue || phase == tile / 2) continue;
      std::array<double, 3> step{};
      for (std::int64_t along = row * tile - other; along < (row + 1) * tile - other; ++along) {
        for (std::int64_t k = 0; k < strip; ++k) {
          for (std::size_t c = 0; c < 3; ++c) {
            step[c] += rgb[pixel(line - origin + k, along) + c];
            step[c] -= rgb[pixel(line - origin - 1 - k, along) + c];
          }
        }
      }
      double square = 0;
      for (const double value : step) square += std::pow(value / static_cast<double>(tile * strip), 2);
      (phase == 0 ? steps_ : other_steps_)[axis].add(square);
    }
  }
}

SeamScores SeamMetric::scores() const {
  SeamScores scores;
  const auto raise = [](std::optional<double>& score, double value) { score = std::max(score.value_or(value), value); };
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::vector<Mean>& phases = phases_[axis];
    std::vector<double> others;
    const auto on_line = [&](std::size_t k) { return k == 0 || 2 * k == phases.size(); };
    for (std::size_t k = 0; k < phases.size(); ++k) {
      if (!on_line(k) && phases[k].count >= kFewestPairs) others.push_back(*phases[k].value());
    }
    const double usual = others.empty() ? 0 : median_of(others);
    for (std::size_t k = 0; usual > 0 && k < phases.size(); ++k) {
      if (phases[k].count < kFewestPairs) continue;
      const double score = *phases[k].value() / usual;
      raise(scores.worst_phase, score);
      if (on_line(k)) raise(scores.lines, score);
    }
    const auto step = steps_[axis].value(), other = other_steps_[axis].value();
    if (step && other && *other > 0) raise(scores.colour_step, std::sqrt(*step / *other));
  }
  scores.gradient_energy = 2 * energy_.value().value_or(0);
  scores.pixels = energy_.count / 2;
  return scores;
}

}  // namespace vtissue::stages
