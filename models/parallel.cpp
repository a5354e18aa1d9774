#include "models/parallel.h"

#include <ATen/Parallel.h>

namespace vtissue::models {

#if !defined(INTRA_OP_PARALLEL)
#error "LibTorch's loops would be serial: compile this file with OpenMP"
#endif

void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain,
                  const std::function<void(std::int64_t, std::int64_t)>& work) {
  at::parallel_for(begin, end, grain, work);
}

}  // namespace vtissue::models
