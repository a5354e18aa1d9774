#pragma once

#include <cstdint>
#include <vector>

#include "models/cancerfoundation/cancerfoundation.h"
#include "models/kernels/packed_linear.h"
#include "models/torch.h"

namespace vtissue::models {

/// CancerFoundationImpl for inference with one list of genes, none of them padding: what a gene and what a bin
/// contribute are tables; weights are packed, large layers compute in the given dtype, sums and norms in float32.
class CancerFoundationInference {
 public:
  /// `ids`: the rows' gene ids, <cls> first; `bins`: values are kCfClassValue or 0..bins-1. Takes what it needs of the
  /// loaded `network`, which may go afterwards. `batch`: sets at a time.
  CancerFoundationInference(CancerFoundationImpl& network, const std::vector<std::int64_t>& ids, int bins,
                            at::ScalarType dtype, const at::Device& device, std::int64_t batch);

  struct Hidden {
    at::Tensor cls;     ///< [B, D] float32: row 0 of the last layer
    at::Tensor tokens;  ///< [B, L, D] float32, if asked for
  };
  /// values [B, L] float32. Without tokens the last layer computes row 0 alone; the cls is the same either way.
  Hidden forward(const at::Tensor& values, bool with_tokens) const;

 private:
  struct Layer {
    kernels::PackedLinear qkv, out, linear1, linear2;
    at::Tensor scale1, shift1, scale2, shift2;  ///< [1, D]
  };
  /// Attention's keys and values from `qkv`, queries from its first rows; `state` (as many rows) is replaced by the
  /// layer's result, which is returned as dtype_ too.
  at::Tensor layer(const Layer& layer, const at::Tensor& state, const at::Tensor& qkv) const;

  std::int64_t dim_;
  std::int64_t heads_;
  at::ScalarType dtype_;
  at::Tensor genes_;  ///< [L, D]
  at::Tensor bins_;   ///< [1 + bins, D]: the cls's value, then the digits
  std::vector<Layer> layers_;
};

}  // namespace vtissue::models
