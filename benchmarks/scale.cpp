// Time, memory and disk of a whole run over slides of 100,000 x 100,000 px with more and more tissue, with test doubles
// for the networks: what the program itself costs, stage by stage.
//
//     benchmark_scale [--folder DIR] [--blocks 4,40,235] [-- further arguments of vtissue run]

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/large_slide.h"

namespace {

namespace fs = std::filesystem;

struct Usage {
  double seconds = 0;
  std::int64_t peak_anonymous = 0, peak_disk = 0;
  int status = 0;
};

std::int64_t anonymous_bytes(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoll(line.substr(8)) * 1024;
  }
  return 0;
}

std::int64_t disk_bytes(const fs::path& folder) {
  std::int64_t sum = 0;
  std::error_code gone;
  for (fs::recursive_directory_iterator entry(folder, gone), end; !gone && entry != end; entry.increment(gone)) {
    std::error_code unknown;
    if (entry->is_regular_file(unknown)) sum += static_cast<std::int64_t>(entry->file_size(unknown));
  }
  return sum;
}

Usage run(const std::vector<std::string>& arguments, const fs::path& out) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const auto started = std::chrono::steady_clock::now();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  Usage usage;
  for (int round = 0; ::waitpid(pid, &usage.status, WNOHANG) == 0; ++round) {
    usage.peak_anonymous = std::max(usage.peak_anonymous, anonymous_bytes(pid));
    if (round % 100 == 0) usage.peak_disk = std::max(usage.peak_disk, disk_bytes(out));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  usage.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return usage;
}

}  // namespace

int main(int argc, char** argv) {
  fs::path folder = fs::temp_directory_path() / "vtissue-scale";
  std::vector<int> blocks = {4, 40, 235};
  std::vector<std::string> further;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--folder" && i + 1 < argc) {
      folder = argv[++i];
    } else if (name == "--blocks" && i + 1 < argc) {
      blocks.clear();
      std::istringstream list(argv[++i]);
      for (std::string one; std::getline(list, one, ',');) blocks.push_back(std::atoi(one.c_str()));
    } else if (name == "--") {
      further.assign(argv + i + 1, argv + argc);
      break;
    } else {
      std::fprintf(stderr, "benchmark_scale [--folder DIR] [--blocks 4,40,235] [-- arguments of vtissue run]\n");
      return 2;
    }
  }
  fs::create_directories(folder);
  for (const int count : blocks) {
    const fs::path slide = folder / ("slide-" + std::to_string(count) + ".svs"), out = folder / "out";
    if (!fs::exists(slide)) vtissue::testing::write_large_slide(slide, 100'000, count, 0.7);
    fs::remove_all(out);
    std::vector<std::string> command = {VTISSUE_BINARY_DIR "/vtissue",
                                        "run",
                                        VTISSUE_SOURCE_DIR "/configs/null.yaml",
                                        "--slide",
                                        slide.string(),
                                        "--out",
                                        out.string(),
                                        "--progress",
                                        "off"};
    command.insert(command.end(), further.begin(), further.end());
    const Usage usage = run(command, out);
    if (usage.status != 0) return 1;
    const nlohmann::json record = nlohmann::json::parse(std::ifstream(out / "run.json"));
    const auto tiles = record["stages"][0]["report"]["tiles"].get<double>();
    std::printf("%.0f tiles: %.1f s, %.0f MiB of anonymous memory at the peak, %.0f MB on disk at the peak\n", tiles,
                usage.seconds, static_cast<double>(usage.peak_anonymous) / (1 << 20),
                static_cast<double>(usage.peak_disk) / 1e6);
    for (const auto& [stage, seconds] : record["timing"]["stage_seconds"].items()) {
      std::printf("  %-12s %8.1f s  %8.2f ms a tile\n", stage.c_str(), seconds.get<double>(),
                  1000 * seconds.get<double>() / tiles);
    }
    std::fflush(stdout);
    fs::remove_all(out);
  }
  return 0;
}
