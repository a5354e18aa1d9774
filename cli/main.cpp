#include <unistd.h>

#include <cstdlib>

#include "cli/app.h"

namespace {

/// MKL reads its mode from the environment, and setting it inside the process comes too late on some runs: the
/// program starts itself again with the mode that models/mkl_mode.h would set.
void restart_with_mkl_mode(char** argv) {
  constexpr const char* kVariable = "MKL_CBWR";
  if (std::getenv(kVariable) != nullptr) return;
  const bool avx512 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0;
  const bool avx2 = __builtin_cpu_supports("avx2") != 0;
  ::setenv(kVariable, avx512 ? "AVX512,STRICT" : avx2 ? "AVX2,STRICT" : "COMPATIBLE", 1);
  ::execv("/proc/self/exe", argv);  // where it fails, the run is slower, not wrong
}

}  // namespace

int main(int argc, char** argv) {
  restart_with_mkl_mode(argv);
  return vtissue::cli::run_app(argc, argv);
}
