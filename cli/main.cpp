#include <csignal>

#include "cli/app.h"
#include "models/mkl_mode.h"

int main(int argc, char** argv) {
  // Whoever reads the messages may go away (2>&1 | head); the work goes on.
  std::signal(SIGPIPE, SIG_IGN);
  vtissue::models::restart_with_library_settings(argv);
  return vtissue::cli::run_app(argc, argv);
}
