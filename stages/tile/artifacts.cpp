#include "stages/tile/artifacts.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "stages/tile/components.h"

namespace vtissue::stages {
namespace {

// Lengths on the glass, µm; areas in µm².
constexpr double kStrokeRadius = 40;  // ink fills discs of it; nuclei and vessels do not
constexpr double kSpeckRadius = 16;   // less does not lead from a stroke into dense tissue
constexpr double kInkRim = 40;        // where ink thins out
constexpr double kInkArea = 50'000;
constexpr double kPaddingArea = 50'000;
constexpr double kFocusRadius = 100;  // over which detail is looked at
constexpr double kBlurArea = 250'000;
constexpr double kBlurGap = 50;

constexpr int kPaddingBlack = 2;  // JPEG leaves pure black at 0 to 2

// Densities are log10 over the glass, of a channel. The ratios leave room to what stained tissue was measured to have
// (her2st, TCGA, CMU): red over green at most 1.3, blue over green 0.45 to 0.8, but for single pixels.
constexpr float kInkDensity = 0.25f;   // of the channel that the ink takes most
constexpr float kDarkDensity = 0.5f;   // where the colour alone would not do: navy, red
constexpr float kBlackDensity = 0.6f;  // of black ink, least channel
constexpr float kThrough = 0.65f;      // of the ink's own densities, through whatever lies under it
constexpr float kFaint = 0.5f;         // of these: what touches a stroke and has its colour

// Focus: what a pixel has over the mean of its four neighbours, beside what it has over those kWide pixels away. Both
// are of edges, so that large, smooth structures beside glass do not pass for blur. Sharp tissue has 0.37 (a thousandth
// of it) to 0.85; out of focus by 8 µm (standard deviation) 0.16 to 0.29, by 6 µm 0.2 to 0.4, by 4 µm 0.28 to 0.7.
constexpr double kSharpRatio = 0.32;
constexpr std::int64_t kWide = 3;
constexpr double kLeastDetail = 0.004;  // density, root of the mean square; less cannot be judged
constexpr double kFocusMpp = 8;         // what these were measured at; finer pictures are shrunk to about it

struct Densities {
  float red, green, blue;
};

/// The ink that a pixel's densities fit, at `share` of the usual density; -1: none.
int ink_of(const Densities& d, float share) {
  const float most = std::max({d.red, d.green, d.blue}), least = std::min({d.red, d.green, d.blue});
  if (most < kInkDensity * share) return -1;
  if (d.red > 1.35f * d.green && d.blue > 1.1f * d.green) return static_cast<int>(Ink::kGreen);
  if (d.red > 1.4f * d.green) return static_cast<int>(Ink::kBlue);
  if (most < kDarkDensity * share) return -1;
  if (d.red > 1.15f * d.green && d.blue < 0.42f * d.green) return static_cast<int>(Ink::kBlue);
  if (d.blue > 0.75f * d.green && d.red < 0.13f * d.green) return static_cast<int>(Ink::kRed);
  if (least > kBlackDensity * share && most - least < 0.2f * most) return static_cast<int>(Ink::kBlack);
  return -1;
}

/// What an ink takes of each channel where it lies thick: medians over its cores.
Densities ink_density(const std::vector<std::size_t>& pixels, const std::function<Densities(std::size_t)>& at) {
  std::array<std::vector<float>, 3> values;
  for (const std::size_t i : pixels) {
    const Densities d = at(i);
    values[0].push_back(d.red), values[1].push_back(d.green), values[2].push_back(d.blue);
  }
  const auto median = [](std::vector<float>& list) {
    const auto middle = list.begin() + static_cast<std::ptrdiff_t>(list.size() / 2);
    std::nth_element(list.begin(), middle, list.end());
    return *middle;
  };
  return {median(values[0]), median(values[1]), median(values[2])};
}

void find_ink(Artifacts& found, const RgbView& picture, const Glass& glass, double mpp) {
  const DensityTable table = density_table(glass.rgb);  // thirds
  const auto at = [&](std::size_t i) {
    const std::uint8_t* p = picture.at(i);
    return Densities{3 * table[0][p[0]], 3 * table[1][p[1]], 3 * table[2][p[2]]};
  };
  const std::size_t count = picture.count();
  BinaryImage& pen = found.masks[static_cast<std::size_t>(Artifact::kPen)];
  std::vector<std::int8_t> ink(count);
  std::array<bool, kInkCount> any{};
  for (std::size_t i = 0; i < count; ++i) {
    ink[i] = static_cast<std::int8_t>(glass.valid[i] ? ink_of(at(i), 1) : -1);
    if (ink[i] >= 0) any[static_cast<std::size_t>(ink[i])] = true;
  }
  const int stroke = radius_px(kStrokeRadius, mpp), speck = radius_px(kSpeckRadius, mpp);
  for (std::size_t kind = 0; kind < kInkCount; ++kind) {
    if (!any[kind]) continue;
    BinaryImage mask{picture.size, std::vector<std::uint8_t>(count)};
    for (std::size_t i = 0; i < count; ++i) mask.pixels[i] = ink[i] == static_cast<std::int8_t>(kind);
    const BinaryImage cores = dilate(erode(mask, stroke), stroke);
    std::vector<std::size_t> core_pixels;
    for (std::size_t i = 0; i < count; ++i) {
      if (cores.pixels[i] && mask.pixels[i]) core_pixels.push_back(i);
    }
    if (static_cast<double>(core_pixels.size()) * mpp * mpp < kInkArea) continue;
    // Over dense tissue the stain hides the ink's colour, but it cannot take away what the ink takes.
    const Densities full = ink_density(core_pixels, at);
    for (std::size_t i = 0; i < count; ++i) {
      const Densities d = at(i);
      mask.pixels[i] = glass.valid[i] && d.red >= kThrough * full.red && d.green >= kThrough * full.green &&
                       d.blue >= kThrough * full.blue;
    }
    mask = dilate(erode(mask, speck), speck);
    for (std::size_t i = 0; i < count; ++i) {
      mask.pixels[i] |= glass.valid[i] && ink_of(at(i), kFaint) == static_cast<int>(kind);
    }
    // All of that which hangs together with the cores.
    const Components parts = find_components(mask, 1, true);
    std::vector<std::int64_t> core(parts.pixels.size());
    for (const std::size_t i : core_pixels) {
      if (parts.labels[i] >= 0) ++core[static_cast<std::size_t>(parts.labels[i])];
    }
    for (std::size_t i = 0; i < count; ++i) {
      const std::int32_t part = parts.labels[i];
      mask.pixels[i] = part >= 0 && static_cast<double>(core[static_cast<std::size_t>(part)]) * mpp * mpp >= kInkArea;
      found.ink[kind] += mask.pixels[i];
    }
    mask = dilate(mask, radius_px(kInkRim, mpp));
    for (std::size_t i = 0; i < count; ++i) pen.pixels[i] |= mask.pixels[i];
  }
}

void find_border(BinaryImage& border, const RgbView& picture, const Glass& glass, double mpp) {
  for (std::size_t i = 0; i < picture.count(); ++i) {
    const std::uint8_t* p = picture.at(i);
    border.pixels[i] = std::max({p[0], p[1], p[2]}) <= kPaddingBlack;
  }
  if (std::find(border.pixels.begin(), border.pixels.end(), 1) != border.pixels.end()) {
    flip_parts(border, 1,
               [&](const Part& part) { return static_cast<double>(part.pixels) * mpp * mpp < kPaddingArea; });
    border = dilate(border, 1);
  }
  for (std::size_t i = 0; i < picture.count(); ++i) border.pixels[i] |= glass.black.pixels[i];
}

/// Density and tissue at about kFocusMpp.
struct FocusView {
  Size<LevelPx> size;
  std::int64_t shrink = 1;
  std::vector<float> density;
  std::vector<std::uint8_t> tissue;  ///< 1 where all of a pixel's cover is
};

FocusView focus_view(const RgbView& picture, const Glass& glass, double mpp, const BinaryImage& tissue) {
  FocusView view;
  view.shrink = std::max<std::int64_t>(1, std::llround(kFocusMpp / mpp));
  view.size = {picture.size.width / view.shrink, picture.size.height / view.shrink};
  const DensityTable table = density_table(glass.rgb);
  const auto area = static_cast<float>(view.shrink * view.shrink);
  view.density.assign(static_cast<std::size_t>(view.size.area()), 0);
  view.tissue.assign(view.density.size(), 1);
  for (std::int64_t y = 0; y < view.size.height * view.shrink; ++y) {
    for (std::int64_t x = 0; x < view.size.width * view.shrink; ++x) {
      const auto from = static_cast<std::size_t>(y * picture.size.width + x);
      const auto to = static_cast<std::size_t>(y / view.shrink * view.size.width + x / view.shrink);
      const std::uint8_t* p = picture.at(from);
      view.density[to] += (table[0][p[0]] + table[1][p[1]] + table[2][p[2]]) / area;
      view.tissue[to] &= tissue.pixels[from];
    }
  }
  return view;
}

void find_blur(BinaryImage& blur, const RgbView& picture, const Glass& glass, double mpp, const BinaryImage& tissue) {
  const FocusView view = focus_view(picture, glass, mpp, tissue);
  if (view.size.empty()) return;
  const double view_mpp = mpp * static_cast<double>(view.shrink);
  const auto [width, height] = view.size;
  std::vector<float> fine(view.density.size()), wide(view.density.size());
  std::vector<std::uint8_t> inside(view.density.size());
  for (std::int64_t y = kWide; y + kWide < height; ++y) {
    for (std::int64_t x = kWide; x + kWide < width; ++x) {
      const auto i = static_cast<std::size_t>(y * width + x), pitch = static_cast<std::size_t>(width);
      const auto far = static_cast<std::size_t>(kWide);
      const std::vector<std::uint8_t>& t = view.tissue;
      inside[i] = t[i] && t[i - far] && t[i + far] && t[i - far * pitch] && t[i + far * pitch];
      if (!inside[i]) continue;
      const std::vector<float>& d = view.density;
      fine[i] = d[i] - (d[i - 1] + d[i + 1] + d[i - pitch] + d[i + pitch]) / 4;
      wide[i] = d[i] - (d[i - far] + d[i + far] + d[i - far * pitch] + d[i + far * pitch]) / 4;
      fine[i] *= fine[i];
      wide[i] *= wide[i];
    }
  }
  const int radius = radius_px(kFocusRadius, view_mpp);
  const LocalStatistics fine_square = local_statistics(fine, inside, view.size, radius);
  const LocalStatistics wide_square = local_statistics(wide, inside, view.size, radius);
  BinaryImage soft{view.size, std::vector<std::uint8_t>(view.density.size())};
  for (std::size_t i = 0; i < soft.pixels.size(); ++i) {
    soft.pixels[i] = inside[i] && wide_square.mean[i] > kLeastDetail * kLeastDetail &&
                     fine_square.mean[i] < kSharpRatio * kSharpRatio * wide_square.mean[i];
  }
  const int gap = radius_px(kBlurGap, view_mpp);
  soft = erode(dilate(soft, gap), gap);
  flip_parts(soft, 1,
             [&](const Part& part) { return static_cast<double>(part.pixels) * view_mpp * view_mpp < kBlurArea; });
  for (std::int64_t y = 0; y < picture.size.height; ++y) {
    for (std::int64_t x = 0; x < picture.size.width; ++x) {
      const auto i = static_cast<std::size_t>(y * picture.size.width + x);
      const std::int64_t column = std::min(x / view.shrink, width - 1), row = std::min(y / view.shrink, height - 1);
      blur.pixels[i] = tissue.pixels[i] && soft.pixels[static_cast<std::size_t>(row * width + column)];
    }
  }
}

}  // namespace

const std::array<std::string_view, kArtifactCount>& artifact_names() {
  static constexpr std::array<std::string_view, kArtifactCount> names = {"pen", "border", "blur"};
  return names;
}

const std::array<std::string_view, kInkCount>& ink_names() {
  static constexpr std::array<std::string_view, kInkCount> names = {"blue", "green", "red", "black"};
  return names;
}

Artifacts find_artifacts(const RgbView& picture, const Glass& glass, double mpp, const BinaryImage& tissue) {
  Artifacts found;
  for (BinaryImage& mask : found.masks) mask = {picture.size, std::vector<std::uint8_t>(picture.count())};
  find_ink(found, picture, glass, mpp);
  find_border(found.masks[static_cast<std::size_t>(Artifact::kBorder)], picture, glass, mpp);
  find_blur(found.masks[static_cast<std::size_t>(Artifact::kBlur)], picture, glass, mpp, tissue);
  return found;
}

}  // namespace vtissue::stages
