#pragma once

#include <cstdint>
#include <functional>

namespace vtissue::models {

/// at::parallel_for: work(first, last) for parts of [begin, end) of at least `grain`, on the threads that the calling
/// thread's team has. LibTorch's own is a template that is serial, without a word, wherever it is compiled without
/// OpenMP; parallel.cpp is compiled with it. Rethrows what work throws.
void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain,
                  const std::function<void(std::int64_t first, std::int64_t last)>& work);

}  // namespace vtissue::models
