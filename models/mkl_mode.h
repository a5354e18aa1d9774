#pragma once

#include <string>

namespace vtissue::models {

/// Chooses MKL's code path for this processor and one order of sums for any number of threads, through the environment
/// variable MKL_CBWR, and returns the mode. Left alone, the last bits depend on the threads, and AUTO means MKL's
/// slowest path on some vendors' processors. A user's own setting stays; it is part of the numerics class.
///
/// In some runs a variable set inside the process came too late to matter, so programs set it first of all and start
/// themselves again (cli/main.cpp, training/train_main.cpp).
std::string set_mkl_mode();

/// First thing in a program: sets the environment variables that MKL and OpenMP read when they are loaded, and starts
/// the program again where one was missing. Besides MKL's mode it is how long an idle thread of a team spins,
/// GOMP_SPINCOUNT: as long as it takes from one layer to the next, not the milliseconds of the default, which on a busy
/// machine are taken from the threads that have work. A user's own GOMP_SPINCOUNT or OMP_WAIT_POLICY stays. Goes on in
/// this process if it cannot be started again.
void restart_with_library_settings(char** argv);

/// The mode MKL is in, asked of MKL itself: "avx512,strict", "compatible"; "auto,strict" where MKL does not take the
/// branch asked for on this vendor's processor and chooses itself; "off" where the last bits depend on the threads.
/// "unknown" for a LibTorch whose MKL cannot be asked, "none" for one without MKL.
std::string mkl_mode_in_force();

}  // namespace vtissue::models
