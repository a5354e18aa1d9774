#include "program.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace vtissue::testing {
namespace fs = std::filesystem;

namespace {

constexpr auto kSampling = std::chrono::milliseconds(20);

std::string read_and_remove(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  fs::remove(path);
  return text.str();
}

fs::path temporary_file() {
  std::string name = (fs::temp_directory_path() / "vtissue-output-XXXXXX").string();
  const int descriptor = ::mkstemp(name.data());
  if (descriptor < 0) throw std::runtime_error("cannot make " + name);
  ::close(descriptor);
  return name;
}

}  // namespace

Program::Program(const std::vector<std::string>& arguments) : out_(temporary_file()), err_(temporary_file()) {
  const std::string program = std::string(VTISSUE_BINARY_DIR) + "/vtissue";
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(::open(out_.c_str(), O_WRONLY | O_TRUNC), STDOUT_FILENO);
    ::dup2(::open(err_.c_str(), O_WRONLY | O_TRUNC), STDERR_FILENO);
    ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
}

Program::~Program() {
  if (!ended_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, &status_, 0);
  }
  std::error_code ignored;
  fs::remove(out_, ignored);
  fs::remove(err_, ignored);
}

void Program::signal(int number) { ::kill(pid_, number); }

void Program::sample_memory() {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) {
      peak_anonymous_bytes_ =
          std::max(peak_anonymous_bytes_, static_cast<std::int64_t>(std::stoll(line.substr(8))) * 1024);
    }
  }
}

bool Program::ended_within(std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!ended_) {
    sample_memory();
    if (::waitpid(pid_, &status_, WNOHANG) == pid_) {
      ended_ = true;
    } else if (std::chrono::steady_clock::now() >= end) {
      return false;
    } else {
      std::this_thread::sleep_for(
          std::min<std::chrono::nanoseconds>(kSampling, end - std::chrono::steady_clock::now()));
    }
  }
  return true;
}

ProgramResult Program::wait() {
  ended_within(std::chrono::hours(1));
  ProgramResult result;
  result.exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : -1;
  result.out = read_and_remove(out_);
  result.err = read_and_remove(err_);
  result.peak_anonymous_bytes = peak_anonymous_bytes_;
  return result;
}

ProgramResult run_program(const std::vector<std::string>& arguments) { return Program(arguments).wait(); }

ProgramResult run_shell(const std::string& command) {
  const fs::path out = temporary_file();
  const int status = std::system((command + " > " + out.string() + " 2>&1").c_str());
  ProgramResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.out = read_and_remove(out);
  return result;
}

}  // namespace vtissue::testing
