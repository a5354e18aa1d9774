#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "models/metrics.h"

namespace vtissue::models {
namespace {

constexpr int kSsimWindow = 11;
constexpr int kSsimReach = kSsimWindow / 2;
constexpr double kSsimSigma = 1.5;
constexpr double kC1 = 0.01 * 0.01;
constexpr double kC2 = 0.03 * 0.03;

std::array<double, kSsimWindow> gaussian_window() {
  std::array<double, kSsimWindow> weights{};
  double sum = 0;
  for (int i = 0; i < kSsimWindow; ++i) {
    const double z = (i - kSsimReach) / kSsimSigma;
    weights[static_cast<std::size_t>(i)] = std::exp(-0.5 * z * z);
    sum += weights[static_cast<std::size_t>(i)];
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

/// Index of a mirrored line; the border itself is not repeated.
int mirrored(int i, int side) {
  if (i < 0) return -i;
  return i >= side ? 2 * (side - 1) - i : i;
}

/// Gaussian means of a plane [height, width] around every pixel.
std::vector<double> smooth(const std::vector<double>& plane, int height, int width) {
  static const std::array<double, kSsimWindow> kWeights = gaussian_window();
  const auto at = [width](int y, int x) {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
  };
  std::vector<double> rows(plane.size());
  std::vector<double> result(plane.size());
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      double sum = 0;
      for (int k = -kSsimReach; k <= kSsimReach; ++k) {
        sum += kWeights[static_cast<std::size_t>(k + kSsimReach)] * plane[at(y, mirrored(x + k, width))];
      }
      rows[at(y, x)] = sum;
    }
  }
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      double sum = 0;
      for (int k = -kSsimReach; k <= kSsimReach; ++k) {
        sum += kWeights[static_cast<std::size_t>(k + kSsimReach)] * rows[at(mirrored(y + k, height), x)];
      }
      result[at(y, x)] = sum;
    }
  }
  return result;
}

}  // namespace

double psnr(std::span<const float> image, std::span<const float> reference) {
  if (image.size() != reference.size() || image.empty()) {
    throw Error(ErrorCode::kBadInput, "PSNR of images of {} and {} values", image.size(), reference.size());
  }
  double sum = 0;
  for (std::size_t i = 0; i < image.size(); ++i) {
    const double difference = static_cast<double>(image[i]) - reference[i];
    sum += difference * difference;
  }
  if (sum == 0) return std::numeric_limits<double>::infinity();
  return -10 * std::log10(sum / static_cast<double>(image.size()));
}

double ssim(std::span<const float> image, std::span<const float> reference, int channels, int height, int width,
            SsimWindows windows, std::span<float> map) {
  const auto pixels = static_cast<std::size_t>(std::max(height, 0)) * static_cast<std::size_t>(std::max(width, 0));
  const std::size_t values = pixels * static_cast<std::size_t>(std::max(channels, 0));
  const bool map_fits = map.empty() || (map.size() == values && windows == SsimWindows::kReflected);
  if (channels < 1 || height < kSsimWindow || width < kSsimWindow || image.size() != values ||
      reference.size() != values || !map_fits) {
    throw Error(ErrorCode::kBadInput, "SSIM of {} and {} values as {} x {} x {}; sides are at least {}", image.size(),
                reference.size(), channels, height, width, kSsimWindow);
  }
  const int margin = windows == SsimWindows::kInside ? kSsimReach : 0;
  double total = 0;
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    std::vector<double> x(pixels), y(pixels), xx(pixels), yy(pixels), xy(pixels);
    for (std::size_t i = 0; i < pixels; ++i) {
      x[i] = image[c * pixels + i];
      y[i] = reference[c * pixels + i];
      xx[i] = x[i] * x[i];
      yy[i] = y[i] * y[i];
      xy[i] = x[i] * y[i];
    }
    for (auto* plane : {&x, &y, &xx, &yy, &xy}) *plane = smooth(*plane, height, width);
    for (int row = margin; row < height - margin; ++row) {
      for (int column = margin; column < width - margin; ++column) {
        const std::size_t i =
            static_cast<std::size_t>(row) * static_cast<std::size_t>(width) + static_cast<std::size_t>(column);
        const double covariance = xy[i] - x[i] * y[i];
        const double variances = xx[i] - x[i] * x[i] + yy[i] - y[i] * y[i];
        const double value =
            (2 * x[i] * y[i] + kC1) * (2 * covariance + kC2) / ((x[i] * x[i] + y[i] * y[i] + kC1) * (variances + kC2));
        total += value;
        if (!map.empty()) map[c * pixels + i] = static_cast<float>(value);
      }
    }
  }
  return total / (static_cast<double>(channels) * (height - 2 * margin) * (width - 2 * margin));
}

}  // namespace vtissue::models
