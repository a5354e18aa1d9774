#include "models/mkl_mode.h"

#include <ATen/Version.h>

#include <cstdlib>

namespace vtissue::models {

std::string set_mkl_mode() {
  constexpr const char* kVariable = "MKL_CBWR";
  const std::string capability = at::get_cpu_capability();
  // AUTO would choose by vendor, and the slowest path for all but one.
  const char* mode = capability == "AVX512" ? "AVX512,STRICT" : capability == "AVX2" ? "AVX2,STRICT" : "COMPATIBLE";
  ::setenv(kVariable, mode, 0);
  return std::getenv(kVariable);
}

}  // namespace vtissue::models
