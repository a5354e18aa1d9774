#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace vtissue::testing {

/// How a run of the program ended.
struct ProgramResult {
  int exit_code = -1;  ///< -1: ended by a signal
  std::string out, err;
  std::int64_t peak_anonymous_bytes = 0;  ///< largest RssAnon seen, sampled every 20 ms
};

/// The program under test, in a process of its own.
class Program {
 public:
  /// Starts `vtissue arguments…` of this build.
  explicit Program(const std::vector<std::string>& arguments);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void signal(int number);
  /// False if it goes on after `limit`.
  bool ended_within(std::chrono::milliseconds limit);
  ProgramResult wait();

 private:
  void sample_memory();
  std::filesystem::path out_, err_;
  int pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
  std::int64_t peak_anonymous_bytes_ = 0;
};

ProgramResult run_program(const std::vector<std::string>& arguments);

/// Any command through the shell; its exit code and stdout.
ProgramResult run_shell(const std::string& command);

}  // namespace vtissue::testing
