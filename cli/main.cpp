#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "cli/app.h"
#include "models/mkl_mode.h"

int main(int argc, char** argv) {
  // Whoever reads the messages may go away (2>&1 | head); the work goes on.
  std::signal(SIGPIPE, SIG_IGN);
  if (std::getenv("MKL_CBWR") == nullptr) {
    vtissue::models::set_mkl_mode();
    ::execv("/proc/self/exe", argv);  // goes on in this process only if that fails
  }
  return vtissue::cli::run_app(argc, argv);
}
