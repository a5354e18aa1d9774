#pragma once

#include <ATen/Parallel.h>

#include <cstdint>
#include <vector>

#include "models/torch.h"

/// Between images [B, C, h, w] and the maps [B, h, w, C] of packed_conv.h.
namespace vtissue::models::kernels {

inline at::Tensor to_map(const at::Tensor& image) { return image.to(at::kFloat).permute({0, 2, 3, 1}).contiguous(); }

inline at::Tensor to_image(const at::Tensor& map) { return map.permute({0, 3, 1, 2}); }

/// Calls work for one sample after the other, since their maps are large, or for all with many threads.
template <typename Work>
at::Tensor by_sample(const at::Tensor& x, Work&& work) {
  constexpr int kThreadsOfASample = 8;  // more threads than that have work only in several samples at once
  if (x.size(0) == 1 || at::get_num_threads() > kThreadsOfASample) return work(x);
  std::vector<at::Tensor> parts;
  for (std::int64_t i = 0; i < x.size(0); ++i) parts.push_back(work(x.narrow(0, i, 1)));
  return at::cat(parts);
}

}  // namespace vtissue::models::kernels
