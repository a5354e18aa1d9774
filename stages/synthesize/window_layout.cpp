#include "stages/synthesize/window_layout.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "models/noise.h"

namespace vtissue::stages {
namespace {

constexpr std::array<std::pair<SynthesisMode, std::string_view>, 3> kModeNames{
    {{SynthesisMode::kShifted, "shifted"},
     {SynthesisMode::kOverlap, "overlap"},
     {SynthesisMode::kIndependent, "independent"}}};

/// The van der Corput sequence: the digits of `index` in `base`, mirrored at the point.
double van_der_corput(std::uint32_t index, std::uint32_t base) {
  double value = 0, digit = 1.0 / base;
  for (; index > 0; index /= base, digit /= base) value += digit * (index % base);
  return value;
}

}  // namespace

std::string_view to_string(SynthesisMode mode) {
  return std::ranges::find(kModeNames, mode, &std::pair<SynthesisMode, std::string_view>::first)->second;
}

SynthesisMode parse_synthesis_mode(std::string_view name) {
  const auto found = std::ranges::find(kModeNames, name, &std::pair<SynthesisMode, std::string_view>::second);
  if (found == kModeNames.end()) {
    throw Error(ErrorCode::kUsage, "synthesis mode '{}'; expected shifted, overlap or independent", name);
  }
  return found->first;
}

WindowLayout::WindowLayout(std::span<const TileCell> cells, int size, const WindowOptions& options)
    : cells_(cells), size_(size), options_(options) {
  if (options.grain < 1 || size < 1 || size % (2 * options.grain) != 0) {
    throw Error(ErrorCode::kUsage,
                "windows of {} latents on a grain of {}: the side must be a multiple of twice the grain", size,
                options.grain);
  }
  if (options.mode == SynthesisMode::kIndependent) return;
  for (const TileCell cell : cells) {
    if (cell.column % 2 != 0 || cell.row % 2 != 0) {
      throw Error(ErrorCode::kUsage,
                  "tile ({}, {}) lies between those of the base grid; synthesis mode {} takes tiles side by side",
                  cell.column, cell.row, to_string(options.mode));
    }
  }
}

bool WindowLayout::blended(int step) const {
  if (options_.mode == SynthesisMode::kOverlap) return true;
  return options_.mode == SynthesisMode::kShifted && step >= options_.steps - options_.blended_steps;
}

Point<Latent> WindowLayout::offset(int step) const {
  if (options_.mode != SynthesisMode::kShifted) return {0, 0};
  // One sequence for all seeds, turned by the seed, so that no seed has the grid's lines more often than another.
  constexpr std::uint32_t kOffsetDraw = 0x6f666673;
  const auto words = models::philox4x32_10({0, 0, kOffsetDraw, 0}, {static_cast<std::uint32_t>(options_.seed),
                                                                    static_cast<std::uint32_t>(options_.seed >> 32)});
  const int places = size_ / options_.grain;
  const auto place = [&](std::uint32_t word, std::uint32_t base) {
    const double turned = van_der_corput(static_cast<std::uint32_t>(step) + 1, base) + word * 0x1p-32;
    return std::min(static_cast<std::int64_t>((turned - std::floor(turned)) * places), std::int64_t{places} - 1) *
           options_.grain;
  };
  return {place(words[0], 2), place(words[1], 3)};
}

std::vector<Point<Latent>> WindowLayout::windows_over(Point<Latent> square, int step) const {
  if (options_.mode == SynthesisMode::kIndependent) return {square};
  const Point<Latent> at = offset(step);
  const std::int64_t stride = blended(step) ? size_ / 2 : size_;
  // From the window that holds the square's first latent to the one that begins at its last at the latest.
  const auto first = [&](std::int64_t place, std::int64_t lattice) {
    return lattice + floor_div(place - size_ + stride - lattice, stride) * stride;
  };
  std::vector<Point<Latent>> windows;
  for (std::int64_t y = first(square.y, at.y); y < square.y + size_; y += stride) {
    for (std::int64_t x = first(square.x, at.x); x < square.x + size_; x += stride) windows.push_back({x, y});
  }
  return windows;
}

std::vector<Point<Latent>> WindowLayout::windows(int step) const {
  std::vector<Point<Latent>> windows;
  for (const TileCell cell : cells_) {
    const std::vector<Point<Latent>> over = windows_over(latent_origin(cell, size_), step);
    windows.insert(windows.end(), over.begin(), over.end());
  }
  std::ranges::sort(windows, {}, [](Point<Latent> p) { return std::pair(p.y, p.x); });
  windows.erase(std::unique(windows.begin(), windows.end()), windows.end());
  return windows;
}

std::vector<float> tent_weights(int size) {
  const auto tent = [size](int k) { return 1.0 - std::abs((2.0 * k + 1.0) / size - 1.0); };
  std::vector<float> weights;
  weights.reserve(static_cast<std::size_t>(size) * static_cast<std::size_t>(size));
  for (int row = 0; row < size; ++row) {
    for (int column = 0; column < size; ++column) weights.push_back(static_cast<float>(tent(row) * tent(column)));
  }
  return weights;
}

}  // namespace vtissue::stages
