#pragma once

#include <filesystem>
#include <string>

namespace vtissue::testing {

/// The Python of tools/get-test-readers.sh, which has other readers of slides; empty if it is not installed.
std::string test_readers_python();

/// What a shell command printed to stdout, and how it ended.
struct ShellResult {
  int exit_code = 0;
  std::string out;
};
ShellResult run_in_shell(const std::string& command);

}  // namespace vtissue::testing
