#include "tests/support/test_readers.h"

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>

namespace vtissue::testing {

std::string test_readers_python() {
  const char* cache = std::getenv("VTISSUE_CACHE");
  const char* home = std::getenv("HOME");
  const std::filesystem::path folder =
      cache != nullptr ? cache : std::filesystem::path(home != nullptr ? home : "/") / ".cache/vtissue";
  const auto readers = folder / "test-readers-2";
  return std::filesystem::exists(readers / "complete") ? (readers / "bin" / "python").string() : "";
}

ShellResult run_in_shell(const std::string& command) {
  ShellResult result;
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return {127, "no shell"};
  char buffer[4096];
  for (std::size_t got = 0; (got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) result.out.append(buffer, got);
  const int status = ::pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return result;
}

}  // namespace vtissue::testing
