#include "models/mkl_mode.h"

#include <cstdlib>

namespace vtissue::models {

std::string set_mkl_mode() {
  constexpr const char* kVariable = "MKL_CBWR";
  const bool avx512 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0;
  const bool avx2 = __builtin_cpu_supports("avx2") != 0;
  ::setenv(kVariable, avx512 ? "AVX512,STRICT" : avx2 ? "AVX2,STRICT" : "COMPATIBLE", 0);
  return std::getenv(kVariable);
}

}  // namespace vtissue::models
