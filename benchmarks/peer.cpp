#include "benchmarks/peer.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "core/error.h"

namespace vtissue::benchmarks {
namespace fs = std::filesystem;

Scratch::Scratch() {
  std::string name = (fs::temp_directory_path() / "vtissue-benchmark-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw Error(ErrorCode::kOutput, "{}: cannot be made", name);
  path_ = name;
}

Scratch::~Scratch() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

fs::path peers_python(const std::string& environment, const std::string& script) {
  const char* cache = std::getenv("VTISSUE_CACHE");
  const char* home = std::getenv("HOME");
  const fs::path root = cache != nullptr ? fs::path(cache) : fs::path(home != nullptr ? home : "/") / ".cache/vtissue";
  const fs::path python = root / environment / "bin" / "python";
  if (!fs::exists(python)) throw Error(ErrorCode::kUsage, "{}: not there; run {}", python.string(), script);
  return python;
}

Peer::Peer(std::vector<std::string> arguments, const char* without) {
  int to[2], from[2];
  if (::pipe(to) != 0 || ::pipe(from) != 0) throw Error(ErrorCode::kDevice, "no pipe to the peer");
  process_ = ::fork();
  if (process_ == 0) {
    ::dup2(to[0], STDIN_FILENO);
    ::dup2(from[1], STDOUT_FILENO);
    for (const int end : {to[0], to[1], from[0], from[1]}) ::close(end);
    ::unsetenv("GOMP_SPINCOUNT");  // of our own team (models/mkl_mode.h)
    if (without != nullptr) ::unsetenv(without);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(to[0]);
  ::close(from[1]);
  in_ = ::fdopen(to[1], "w");
  out_ = ::fdopen(from[0], "r");
  if (read() != "ready") throw Error(ErrorCode::kModel, "the peer did not start; its message is above");
}

Peer::~Peer() {
  std::fclose(in_);
  std::fclose(out_);
  ::waitpid(process_, nullptr, 0);
}

Peer::Times Peer::run_timed() {
  const std::string answer = ask("run");
  Times times;
  const char* const end = answer.data() + answer.size();
  const char* const rest = std::from_chars(answer.data(), end, times.wall).ptr;
  if (!(times.wall > 0)) throw Error(ErrorCode::kModel, "the peer answered \"{}\"", answer);
  if (rest != end) std::from_chars(rest + 1, end, times.processor);
  return times;
}

std::string Peer::ask(const std::string& line) {
  std::fprintf(in_, "%s\n", line.c_str());
  std::fflush(in_);
  const std::string answer = read();
  if (answer.empty()) throw Error(ErrorCode::kModel, "the peer stopped; its message is above");
  return answer;
}

std::string Peer::read() {
  char line[256];
  if (std::fgets(line, sizeof line, out_) == nullptr) return {};
  std::string text = line;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

double processor_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace vtissue::benchmarks
