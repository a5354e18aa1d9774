#pragma once

#include <cstdint>

/// Convolutions of maps [h, w, channels] of float32, compiled once for each instruction set (conv_avx512bf16.cpp,
/// conv_avx512.cpp, conv_avx2.cpp, conv_default.cpp). No LibTorch here, as in rows.h.
///
/// 3x3 with padding 1 is Winograd's F(2x2, 3x3) (Lavin and Gray, "Fast algorithms for convolutional neural networks",
/// 2016): 16 products instead of 36 for a tile of 2x2 results. Of a map doubled by nearest neighbour one row and one
/// column of the transformed tile are zero, so that 9 products are left and the doubled map is never made.
namespace vtissue::models::kernels {

/// A part of one sample's 3x3 convolution; rows and columns are counted in tiles of 2x2 results.
struct Conv3x3Block {
  const float* x = nullptr;      ///< [height, width, in]; [height / 2, width / 2, in] if `doubled`
  const float* scale = nullptr;  ///< [in] or null; given, the layer sees silu(x * scale + shift)
  const float* shift = nullptr;
  const void* weights = nullptr;    ///< as pack3x3() lays them out
  const float* bias = nullptr;      ///< [out]
  const float* residual = nullptr;  ///< [height, width, out] or null, added to the result
  bool rectified = false;           ///< of the result, what is below 0 becomes 0
  float* result = nullptr;          ///< [height, width, out]
  float* moments = nullptr;         ///< [2, out] or null: mean of the block's results and sum of squares around it
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  std::int64_t first_column = 0;
  std::int64_t columns = 0;
  bool doubled = false;
};

/// Rows of a linear layer over the channels.
struct Conv1x1Rows {
  const float* x = nullptr;       ///< [rows, in]
  const void* weights = nullptr;  ///< as pack1x1() lays them out
  const float* bias = nullptr;    ///< [out]
  float* result = nullptr;        ///< [rows, out]
  std::int64_t rows = 0;
  std::int64_t in = 0;
  std::int64_t out = 0;
};

/// A result depends on what it sums and on nothing else: neither on the block it is in nor on the rows beside it.
/// Products are of float32, or of bfloat16 with sums in float32; the maps are float32 either way. Scratch is aligned to
/// 64 bytes.
struct ConvKernels {
  std::int64_t (*packed3x3_bytes)(std::int64_t in, std::int64_t out, bool doubled);
  void (*pack3x3)(const float* weight, std::int64_t in, std::int64_t out, bool doubled, void* packed);
  std::int64_t (*scratch3x3_bytes)(const Conv3x3Block&);
  void (*run3x3)(const Conv3x3Block&, void* scratch);
  std::int64_t (*packed1x1_bytes)(std::int64_t in, std::int64_t out);
  void (*pack1x1)(const float* weight, std::int64_t in, std::int64_t out, void* packed);
  std::int64_t (*scratch1x1_bytes)(const Conv1x1Rows&);
  void (*run1x1)(const Conv1x1Rows&, void* scratch);
  /// Of `rows` rows of x [rows, channels] into moments [2, channels].
  void (*moments)(const float* x, std::int64_t rows, std::int64_t channels, float* moments);
};

extern const ConvKernels kConvAvx512Bf16;  ///< products of bfloat16; needs AVX512_BF16
extern const ConvKernels kConvAvx512;
extern const ConvKernels kConvAvx2;
extern const ConvKernels kConvDefault;

}  // namespace vtissue::models::kernels
