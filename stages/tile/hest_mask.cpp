#include "stages/tile/hest_mask.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "stages/tile/otsu.h"

namespace vtissue::stages {
namespace {

constexpr int kGreySaturation = 10;  // of 255; grey from kGreyLeast on
constexpr int kGreyLeast = 70;
constexpr int kDarkMost = 85;
constexpr float kWhite = 255;

/// OpenCV's 8-bit saturation at most kGreySaturation and not dark, or dark whatever the colour.
bool is_grey_or_dark(const std::uint8_t* p) {
  const int low = std::min({p[0], p[1], p[2]}), high = std::max({p[0], p[1], p[2]});
  if (high <= kDarkMost) return true;
  const int quotient = static_cast<int>(std::lround((255 << 12) / static_cast<double>(high)));
  return high >= kGreyLeast && (((high - low) * quotient + (1 << 11)) >> 12) <= kGreySaturation;
}

float grey_value(const std::uint8_t* p) {
  return 0.2125f * static_cast<float>(p[0]) + 0.7154f * static_cast<float>(p[1]) + 0.0721f * static_cast<float>(p[2]);
}

/// Pixels darker than Otsu's threshold over 256 bins from the least to the largest value.
BinaryImage darker_class(const std::vector<float>& grey, Size<LevelPx> size) {
  const auto [low, high] = std::minmax_element(grey.begin(), grey.end());
  BinaryImage darker{size, std::vector<std::uint8_t>(grey.size())};
  if (*low == *high) return darker;
  const double width = (static_cast<double>(*high) - *low) / 256;
  std::array<std::int64_t, 256> histogram{};
  for (const float value : grey)
    ++histogram[std::min<std::size_t>(255, static_cast<std::size_t>((value - *low) / width))];
  const double threshold = *low + (static_cast<double>(otsu_bin(histogram)) + 0.5) * width;
  for (std::size_t i = 0; i < grey.size(); ++i) darker.pixels[i] = grey[i] < threshold;
  return darker;
}

}  // namespace

BinaryImage hest_mask(const RgbView& picture, double mpp, const TissueAreas& areas) {
  std::vector<float> grey(picture.count());
  for (std::size_t i = 0; i < grey.size(); ++i) {
    grey[i] = is_grey_or_dark(picture.at(i)) ? kWhite : grey_value(picture.at(i));
  }
  const double pixel_um2 = mpp * mpp;
  BinaryImage tissue = darker_class(grey, picture.size);
  flip_parts(tissue, 1,
             [&](const Part& part) { return static_cast<double>(part.pixels) * pixel_um2 <= areas.min_area_um2; });
  for (std::size_t i = 0; i < grey.size(); ++i) {
    if (!tissue.pixels[i]) grey[i] = kWhite;
  }
  tissue = darker_class(grey, picture.size);
  flip_parts(tissue, 0,
             [&](const Part& part) { return static_cast<double>(part.pixels) * pixel_um2 <= areas.min_hole_um2; });
  return tissue;
}

}  // namespace vtissue::stages
