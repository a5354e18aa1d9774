#include "models/mkl_mode.h"

#include <dlfcn.h>
#include <torch/version.h>
#include <unistd.h>

#include <ATen/Config.h>

#include <cstdlib>

namespace vtissue::models {
namespace {

// MKL's numbers for its conditional reproducibility; its headers are not part of LibTorch's package.
constexpr int kAllSettings = -1;
constexpr int kStrict = 0x10000;

const char* branch_name(int branch) {
  switch (branch) {
    case 1:
      return "off";
    case 2:
      return "auto";
    case 3:
      return "compatible";
    case 4:
      return "sse2";
    case 5:
      return "sse3";
    case 6:
      return "ssse3";
    case 7:
      return "sse4_1";
    case 8:
      return "sse4_2";
    case 9:
      return "avx";
    case 10:
      return "avx2";
    case 11:
      return "avx512_mic";
    case 12:
      return "avx512";
    case 13:
      return "avx512_mic_e1";
    case 14:
      return "avx512_e1";
    default:
      return "unknown";
  }
}

}  // namespace

std::string set_mkl_mode() {
  constexpr const char* kVariable = "MKL_CBWR";
  const bool avx512 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0;
  const bool avx2 = __builtin_cpu_supports("avx2") != 0;
  ::setenv(kVariable, avx512 ? "AVX512,STRICT" : avx2 ? "AVX2,STRICT" : "COMPATIBLE", 0);
  return std::getenv(kVariable);
}

void restart_with_library_settings(char** argv) {
  constexpr const char* kSpinVariable = "GOMP_SPINCOUNT";
  bool changed = false;
  if (std::getenv("MKL_CBWR") == nullptr) {
    set_mkl_mode();
    changed = true;
  }
  if (std::getenv(kSpinVariable) == nullptr && std::getenv("OMP_WAIT_POLICY") == nullptr) {
    ::setenv(kSpinVariable, "10000", 0);
    changed = true;
  }
  if (changed) ::execv("/proc/self/exe", argv);
}

std::string mkl_mode_in_force() {
  const auto get = reinterpret_cast<int (*)(int)>(::dlsym(RTLD_DEFAULT, "mkl_serv_cbwr_get"));
  if (get == nullptr) return AT_MKL_ENABLED() != 0 ? "unknown" : "none";
  const int mode = get(kAllSettings);
  if (mode < 0) return "unknown";
  return std::string(branch_name(mode & ~kStrict)) + ((mode & kStrict) != 0 ? ",strict" : "");
}

}  // namespace vtissue::models
