#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace vtissue::models {

enum class Interpolation { kBilinear, kBicubic, kBox, kLanczos };

/// Where a tile is resized: as an image of bytes, or after its conversion to floating point. Encoders were trained with
/// one or the other, and with a bicubic filter the two differ by up to 14 levels (models.md 4.1).
enum class ResizePath {
  kPil,    ///< PIL: in fixed point, rounded and clipped to bytes
  kTensor  ///< torchvision on tensors, antialiased: not rounded, may leave [0, 1]
};

/// What happens to a tile before a network sees it: Resize(resize_px), CenterCrop(crop_px), normalisation.
struct Preprocessing {
  ResizePath path = ResizePath::kPil;
  Interpolation interpolation = Interpolation::kBilinear;
  int resize_px = 224;                                ///< of the shorter side
  int crop_px = 224;                                  ///< side of the result, at most resize_px
  std::array<float, 3> mean{0.485f, 0.456f, 0.406f};  ///< by channel, of values in 0..1
  std::array<float, 3> std{0.229f, 0.224f, 0.225f};
  bool half_features = false;  ///< the embedding is rounded to float16, as the conditions of PixCell's training were
};

/// Size of an image whose shorter side is resized to `side`: the longer one truncated.
struct ImageSize {
  int height = 0;
  int width = 0;
  friend bool operator==(const ImageSize&, const ImageSize&) = default;
};
ImageSize resized_size(ImageSize size, int side);

/// First row or column of a centred crop; halves go to the even number.
int center_crop_offset(int side, int crop);

/// Resamples an RGB image [height, width, 3] to [out_height, out_width, 3] bit for bit as PIL does: antialiased,
/// in fixed point, along rows first (models.md 4.1). Throws Error kUsage for an empty size or an array that does not
/// fit. Thread-safe.
std::vector<std::uint8_t> resize_rgb(std::span<const std::uint8_t> rgb, int height, int width, int out_height,
                                     int out_width, Interpolation interpolation = Interpolation::kBilinear);

/// The same in floating point, as torchvision resizes a tensor of values in 0..1 → planes [3, out_height, out_width].
std::vector<float> resize_planes(std::span<const std::uint8_t> rgb, int height, int width, int out_height,
                                 int out_width, Interpolation interpolation = Interpolation::kBilinear);

/// rgb [pixels, 3] → planes [3, pixels], (value / 255 - mean) / std. Thread-safe.
void normalize_rgb(std::span<const std::uint8_t> rgb, const std::array<float, 3>& mean, const std::array<float, 3>& std,
                   std::span<float> planes);

/// All of it: rgb [height, width, 3] → planes [3, crop_px, crop_px]. Throws Error kUsage for arrays that do not fit.
/// Thread-safe.
void preprocess(std::span<const std::uint8_t> rgb, int height, int width, const Preprocessing& how,
                std::span<float> planes);

enum class Quantization {
  kRound,    ///< to the nearest level, halves to even; what the engines do
  kTruncate  ///< as PixCell's scripts: one level darker half of the time
};

/// planes [3, pixels] of values in 0..1, clamped → rgb [pixels, 3].
void quantize_rgb(std::span<const float> planes, std::span<std::uint8_t> rgb,
                  Quantization quantization = Quantization::kRound);

}  // namespace vtissue::models
