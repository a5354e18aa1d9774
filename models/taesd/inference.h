#pragma once

#include <array>
#include <vector>

#include "models/kernels/packed_conv.h"
#include "models/taesd/taesd.h"
#include "models/torch.h"

namespace vtissue::models {

/// TaesdImpl's decoder for a processor: weights are transformed and packed once, rectifier and skip are part of the
/// convolution before them, doubling is part of the one after it (kernels/conv.h). Products are of the given dtype,
/// maps and sums float32. A sample's result does not depend on the others.
class TaesdDecoder {
 public:
  /// Takes what it needs of the loaded `network`, which may go afterwards.
  TaesdDecoder(TaesdImpl& network, at::ScalarType dtype);

  /// As TaesdImpl::decode(): [B, C, h, w] → [B, 3, 8h, 8w], both float32.
  at::Tensor operator()(const at::Tensor& latent) const;

 private:
  struct Block {
    std::array<kernels::PackedConv3x3, 3> convs;
    kernels::PackedConv1x1 pool_in, pool_out;  ///< undefined without the side path
    kernels::GroupNorm pool_norm;
  };
  /// One resolution: the doubling convolution that leads to it, undefined at the first, and its blocks.
  struct Level {
    kernels::PackedConv3x3 doubling;
    std::vector<Block> blocks;
  };

  at::Tensor run(const Block& block, const at::Tensor& x) const;
  at::Tensor decode_map(const at::Tensor& latent) const;

  kernels::PackedConv3x3 conv_in_, conv_out_;
  std::vector<Level> levels_;
};

}  // namespace vtissue::models
