#pragma once

#include <string>

namespace vtissue::models {

/// Makes MKL use one code path and one order of sums, whatever the number of threads, and returns the mode. Call before
/// the first product of matrices. Without it the last bits depend on the threads, and on processors that are not
/// Intel's MKL takes a slow path: measured on an AMD machine with AVX2, the demo denoiser is six times faster with it.
/// A user's own MKL_CBWR stays; it is part of the numerics class.
std::string set_mkl_mode();

}  // namespace vtissue::models
