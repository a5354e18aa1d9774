#include "models/preprocess.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace vtissue::models {
namespace {

constexpr int kChannels = 3;
constexpr int kWeightBits = 22;

double triangle(double x) { return std::max(1.0 - std::abs(x), 0.0); }

/// Keys' cubic with a = -0.5.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// Which input pixels, with which weights, make an output pixel.
struct Window {
  int first = 0;
  std::vector<std::int64_t> weights;  ///< scaled by 2^22
};

std::vector<Window> windows(int in, int out, Interpolation interpolation) {
  const auto filter = interpolation == Interpolation::kBilinear ? triangle : cubic;
  const double support = interpolation == Interpolation::kBilinear ? 1.0 : 2.0;
  const double scale = static_cast<double>(in) / out;
  const double filter_scale = std::max(scale, 1.0);  // shrinking widens the filter
  const double reach = support * filter_scale;
  std::vector<Window> result(static_cast<std::size_t>(out));
  for (int i = 0; i < out; ++i) {
    const double center = (i + 0.5) * scale;
    Window& window = result[static_cast<std::size_t>(i)];
    window.first = std::max(static_cast<int>(center - reach + 0.5), 0);
    const int end = std::min(static_cast<int>(center + reach + 0.5), in);
    std::vector<double> weights;
    double sum = 0;
    for (int j = window.first; j < end; ++j) {
      weights.push_back(filter((j - center + 0.5) * (1.0 / filter_scale)));
      sum += weights.back();
    }
    for (double weight : weights) {
      if (sum != 0) weight /= sum;
      const double fixed = weight * (1 << kWeightBits);
      window.weights.push_back(static_cast<std::int64_t>(fixed + (weight < 0 ? -0.5 : 0.5)));
    }
  }
  return result;
}

/// Resamples along an axis: `in` is [outer, windows' input, inner] and the result [outer, windows.size(), inner].
std::vector<std::uint8_t> resample(std::span<const std::uint8_t> in, const std::vector<Window>& axis, std::size_t outer,
                                   std::size_t length, std::size_t inner) {
  std::vector<std::uint8_t> out(outer * axis.size() * inner);
  std::size_t next = 0;
  for (std::size_t o = 0; o < outer; ++o) {
    for (const Window& window : axis) {
      const std::size_t start = (o * length + static_cast<std::size_t>(window.first)) * inner;
      for (std::size_t k = 0; k < inner; ++k) {
        std::int64_t sum = std::int64_t{1} << (kWeightBits - 1);
        for (std::size_t j = 0; j < window.weights.size(); ++j) sum += window.weights[j] * in[start + j * inner + k];
        out[next++] = static_cast<std::uint8_t>(std::clamp<std::int64_t>(sum >> kWeightBits, 0, 255));
      }
    }
  }
  return out;
}

}  // namespace

std::vector<std::uint8_t> resize_rgb(std::span<const std::uint8_t> rgb, int height, int width, int out_height,
                                     int out_width, Interpolation interpolation) {
  if (height < 1 || width < 1 || out_height < 1 || out_width < 1 ||
      rgb.size() != static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * kChannels) {
    throw Error(ErrorCode::kUsage, "an image of {} x {} px in an array of {} cannot be resized to {} x {}", width,
                height, rgb.size(), out_width, out_height);
  }
  const auto rows = static_cast<std::size_t>(height);
  const auto columns = static_cast<std::size_t>(width);
  const std::vector<std::uint8_t> wide =
      resample(rgb, windows(width, out_width, interpolation), rows, columns, kChannels);
  return resample(wide, windows(height, out_height, interpolation), 1, rows,
                  static_cast<std::size_t>(out_width) * kChannels);
}

void normalize_rgb(std::span<const std::uint8_t> rgb, const std::array<float, 3>& mean, const std::array<float, 3>& std,
                   std::span<float> planes) {
  if (rgb.size() != planes.size() || rgb.size() % kChannels != 0) {
    throw Error(ErrorCode::kUsage, "{} RGB values cannot be normalised into an array of {}", rgb.size(), planes.size());
  }
  const std::size_t pixels = rgb.size() / kChannels;
  for (std::size_t c = 0; c < kChannels; ++c) {
    for (std::size_t i = 0; i < pixels; ++i) {
      const float value = static_cast<float>(rgb[i * kChannels + c]) / 255.0f;
      planes[c * pixels + i] = (value - mean[c]) / std[c];
    }
  }
}

}  // namespace vtissue::models
