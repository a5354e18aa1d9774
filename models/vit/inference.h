#pragma once

#include <vector>

#include "models/kernels/packed_linear.h"
#include "models/torch.h"
#include "models/vit/vit.h"

namespace vtissue::models {

/// VitImpl for inference: packed weights, large layers in the given dtype, fused gates and norms; residual sums, norms
/// and patches are float32.
class VitInference {
 public:
  /// Takes what it needs of the loaded `network`, which may go afterwards. `batch`: images at a time.
  VitInference(VitImpl& network, at::ScalarType dtype, const at::Device& device, std::int64_t batch);

  /// As VitImpl::tokens(), float32.
  at::Tensor tokens(const at::Tensor& image) const;

  /// The class token of tokens(): [B, D]. In the last block nothing is computed for the other tokens but keys and
  /// values.
  at::Tensor forward(const at::Tensor& image) const;

 private:
  struct Block {
    at::Tensor scale1, shift1, gate1, scale2, shift2, gate2;  ///< [1, D]; gates undefined without layer scale
    kernels::PackedLinear qkv, proj, fc1, fc2;
  };

  at::Tensor embed(const at::Tensor& image) const;
  at::Tensor mlp(const Block& block, const at::Tensor& h) const;
  /// The state after `count` blocks, in place; returns the next norm's result: the following block's, or the last one's
  /// as float32.
  at::Tensor run(const at::Tensor& state, std::size_t count) const;
  at::Tensor norm_before(std::size_t block, const at::Tensor& state, const at::Tensor& y, const at::Tensor& gate) const;

  VitConfig config_;
  at::ScalarType dtype_;
  kernels::PackedLinear patch_;
  at::Tensor prefix_;  ///< [1, 1 + registers, D], with their positions
  at::Tensor table_;   ///< [1, patches, D]
  std::vector<Block> blocks_;
  at::Tensor scale_, shift_;  ///< of the last norm
};

}  // namespace vtissue::models
