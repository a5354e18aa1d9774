#include "models/preprocess.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace vtissue::models {
namespace {

constexpr std::size_t kChannels = 3;
constexpr int kWeightBits = 22;

template <typename T>
T triangle(T x) {
  return std::max(T{1} - std::abs(x), T{0});
}

/// Keys' cubic with a = -0.5.
template <typename T>
T cubic(T x) {
  constexpr T a = T{-0.5};
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

template <typename T>
T box(T x) {
  return x > T{-0.5} && x <= T{0.5} ? 1 : 0;
}

template <typename T>
T sinc(T x) {
  if (x == 0) return 1;
  x *= std::numbers::pi_v<T>;
  return std::sin(x) / x;
}

template <typename T>
T lanczos(T x) {
  return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

template <typename T>
struct Filter {
  T (*weight)(T);
  T support;
};

template <typename T>
Filter<T> filter_of(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kBilinear:
      return {triangle<T>, 1};
    case Interpolation::kBicubic:
      return {cubic<T>, 2};
    case Interpolation::kBox:
      return {box<T>, T{0.5}};
    case Interpolation::kLanczos:
      return {lanczos<T>, 3};
  }
  return {triangle<T>, 1};
}

/// Which input pixels, with which weights, make an output pixel.
template <typename T>
struct Window {
  int first = 0;
  std::vector<T> weights;  ///< they add up to 1
};

/// T is double for PIL and float for tensors, as in the references: the weights' last bits are seen in the result.
template <typename T>
std::vector<Window<T>> windows(int in, int out, Interpolation interpolation) {
  constexpr T kHalf = T{0.5};
  const Filter<T> filter = filter_of<T>(interpolation);
  const T scale = static_cast<T>(in) / static_cast<T>(out);
  const T filter_scale = std::max(scale, T{1});  // shrinking widens the filter
  const T reach = filter.support * filter_scale;
  std::vector<Window<T>> result(static_cast<std::size_t>(out));
  for (int i = 0; i < out; ++i) {
    const T center = (static_cast<T>(i) + kHalf) * scale;
    Window<T>& window = result[static_cast<std::size_t>(i)];
    window.first = std::max(static_cast<int>(center - reach + kHalf), 0);
    const int end = std::min(static_cast<int>(center + reach + kHalf), in);
    T sum = 0;
    for (int j = window.first; j < end; ++j) {
      window.weights.push_back(filter.weight((static_cast<T>(j) - center + kHalf) * (T{1} / filter_scale)));
      sum += window.weights.back();
    }
    if (sum == 0) continue;
    for (T& weight : window.weights) weight /= sum;
  }
  return result;
}

/// Weights scaled by 2^22.
std::vector<std::int64_t> fixed_point(const Window<double>& window) {
  std::vector<std::int64_t> result;
  for (const double weight : window.weights) {
    result.push_back(static_cast<std::int64_t>(weight * (1 << kWeightBits) + (weight < 0 ? -0.5 : 0.5)));
  }
  return result;
}

/// Combines `values` of an axis: [outer, length, inner] → [outer, windows, inner].
template <typename T, typename W, typename Weights, typename Combine>
std::vector<T> resample(const std::vector<T>& in, const std::vector<Window<W>>& axis, std::size_t outer,
                        std::size_t length, std::size_t inner, Weights&& weights_of, Combine&& combine) {
  std::vector<T> out(outer * axis.size() * inner);
  for (std::size_t i = 0; i < axis.size(); ++i) {
    const auto weights = weights_of(axis[i]);
    for (std::size_t o = 0; o < outer; ++o) {
      const std::size_t start = (o * length + static_cast<std::size_t>(axis[i].first)) * inner;
      for (std::size_t k = 0; k < inner; ++k) {
        out[(o * axis.size() + i) * inner + k] = combine(weights, in.data() + start + k, inner);
      }
    }
  }
  return out;
}

std::uint8_t combine_bytes(const std::vector<std::int64_t>& weights, const std::uint8_t* in, std::size_t stride) {
  std::int64_t sum = std::int64_t{1} << (kWeightBits - 1);
  for (std::size_t j = 0; j < weights.size(); ++j) sum += weights[j] * in[j * stride];
  return static_cast<std::uint8_t>(std::clamp<std::int64_t>(sum >> kWeightBits, 0, 255));
}

float combine_floats(const std::vector<float>& weights, const float* in, std::size_t stride) {
  float sum = 0;
  for (std::size_t j = 0; j < weights.size(); ++j) sum += weights[j] * in[j * stride];
  return sum;
}

void check_image(std::span<const std::uint8_t> rgb, int height, int width, int out_height, int out_width) {
  if (height < 1 || width < 1 || out_height < 1 || out_width < 1 ||
      rgb.size() != static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * kChannels) {
    throw Error(ErrorCode::kUsage, "an image of {} x {} px in an array of {} cannot be resized to {} x {}", width,
                height, rgb.size(), out_width, out_height);
  }
}

/// [height * width, 3] → [3, height, width] in 0..1.
std::vector<float> to_planes(std::span<const std::uint8_t> rgb) {
  const std::size_t pixels = rgb.size() / kChannels;
  std::vector<float> planes(rgb.size());
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t c = 0; c < kChannels; ++c) {
      planes[c * pixels + i] = static_cast<float>(rgb[kChannels * i + c]) / 255.0f;
    }
  }
  return planes;
}

}  // namespace

ImageSize resized_size(ImageSize size, int side) {
  const auto longer = [&](int length, int shorter) {
    return static_cast<int>(static_cast<std::int64_t>(side) * length / shorter);
  };
  return size.height <= size.width ? ImageSize{side, longer(size.width, size.height)}
                                   : ImageSize{longer(size.height, size.width), side};
}

int center_crop_offset(int side, int crop) { return static_cast<int>(std::nearbyint((side - crop) / 2.0)); }

std::vector<std::uint8_t> resize_rgb(std::span<const std::uint8_t> rgb, int height, int width, int out_height,
                                     int out_width, Interpolation interpolation) {
  check_image(rgb, height, width, out_height, out_width);
  const auto rows = static_cast<std::size_t>(height);
  const std::vector<std::uint8_t> wide =
      resample(std::vector<std::uint8_t>(rgb.begin(), rgb.end()), windows<double>(width, out_width, interpolation),
               rows, static_cast<std::size_t>(width), kChannels, fixed_point, combine_bytes);
  return resample(wide, windows<double>(height, out_height, interpolation), 1, rows,
                  static_cast<std::size_t>(out_width) * kChannels, fixed_point, combine_bytes);
}

std::vector<float> resize_planes(std::span<const std::uint8_t> rgb, int height, int width, int out_height,
                                 int out_width, Interpolation interpolation) {
  check_image(rgb, height, width, out_height, out_width);
  const auto weights_of = [](const Window<float>& window) { return window.weights; };
  const auto rows = static_cast<std::size_t>(height);
  std::vector<float> planes = to_planes(rgb);
  if (width != out_width) {
    planes = resample(planes, windows<float>(width, out_width, interpolation), kChannels * rows,
                      static_cast<std::size_t>(width), 1, weights_of, combine_floats);
  }
  if (height == out_height) return planes;
  return resample(planes, windows<float>(height, out_height, interpolation), kChannels, rows,
                  static_cast<std::size_t>(out_width), weights_of, combine_floats);
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

void preprocess(std::span<const std::uint8_t> rgb, int height, int width, const Preprocessing& how,
                std::span<float> planes) {
  const ImageSize size = resized_size({height, width}, how.resize_px);
  if (how.crop_px < 1 || how.crop_px > how.resize_px) {
    throw Error(ErrorCode::kUsage, "a crop of {} px of an image resized to {} px", how.crop_px, how.resize_px);
  }
  const auto crop = static_cast<std::size_t>(how.crop_px);
  if (planes.size() != kChannels * crop * crop) {
    throw Error(ErrorCode::kUsage, "{} values for an image of {} x {} px", planes.size(), how.crop_px, how.crop_px);
  }
  // Both resize an axis only where its length changes; with equal lengths PIL's filter is the identity.
  const std::vector<float> resized =
      how.path == ResizePath::kTensor
          ? resize_planes(rgb, height, width, size.height, size.width, how.interpolation)
          : to_planes(resize_rgb(rgb, height, width, size.height, size.width, how.interpolation));
  const auto top = static_cast<std::size_t>(center_crop_offset(size.height, how.crop_px));
  const auto left = static_cast<std::size_t>(center_crop_offset(size.width, how.crop_px));
  const auto rows = static_cast<std::size_t>(size.height);
  const auto columns = static_cast<std::size_t>(size.width);
  for (std::size_t c = 0; c < kChannels; ++c) {
    for (std::size_t y = 0; y < crop; ++y) {
      const float* from = resized.data() + (c * rows + top + y) * columns + left;
      float* to = planes.data() + (c * crop + y) * crop;
      for (std::size_t x = 0; x < crop; ++x) to[x] = (from[x] - how.mean[c]) / how.std[c];
    }
  }
}

void quantize_rgb(std::span<const float> planes, std::span<std::uint8_t> rgb, Quantization quantization) {
  if (planes.size() != rgb.size() || rgb.size() % kChannels != 0) {
    throw Error(ErrorCode::kUsage, "{} values cannot be stored as {} bytes of RGB", planes.size(), rgb.size());
  }
  const std::size_t pixels = rgb.size() / kChannels;
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t c = 0; c < kChannels; ++c) {
      const float value = std::clamp(planes[c * pixels + i], 0.0f, 1.0f) * 255.0f;
      rgb[kChannels * i + c] =
          static_cast<std::uint8_t>(quantization == Quantization::kRound ? std::nearbyint(value) : value);
    }
  }
}

}  // namespace vtissue::models
