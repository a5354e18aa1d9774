#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace vtissue::benchmarks {

/// A folder that goes when the program ends.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::filesystem::path operator/(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// The Python of a virtual environment in the cache folder. Throws Error kUsage, naming the script that makes it.
std::filesystem::path peers_python(const std::string& environment, const std::string& script);

/// A script in a process of its own that answers lines with lines: "ready" first, then to "run" the seconds it took.
class Peer {
 public:
  /// `without`: a variable that its environment shall not have.
  explicit Peer(std::vector<std::string> arguments, const char* without = nullptr);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  /// Seconds of one run.
  double run() { return run_timed().wall; }
  /// The same and the processor's seconds, where the script says them: on a machine that others use, the fairer ones.
  struct Times {
    double wall = 0, processor = 0;
  };
  Times run_timed();
  std::string ask(const std::string& line);

 private:
  std::string read();

  pid_t process_ = 0;
  std::FILE* in_ = nullptr;
  std::FILE* out_ = nullptr;
};

/// Seconds that the processor has worked for this process.
double processor_seconds();

double median(std::vector<double> values);

}  // namespace vtissue::benchmarks
