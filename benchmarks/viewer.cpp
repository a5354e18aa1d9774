// Tiles over loopback: 'vtissue view' beside OpenSlide Python's Deep Zoom generator behind Python's own web server,
// both of the same file. Every answer must be a JPEG; memory is the servers' own, at intervals.

#include <httplib.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <thread>

#include "benchmarks/peer.h"
#include "core/error.h"
#include "viewer/content.h"
#include "viewer/server.h"

namespace vtissue::benchmarks {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// Memory of this process that is in use, MB: of its own, not of mapped files.
double resident_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoll(line.substr(8)) / 1024.0;
  }
  return 0;
}

double number(const std::string& text) {
  double value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc())
    throw Error(ErrorCode::kDevice, "the server said '{}' where a number was expected", text);
  return value;
}

/// Our server, in the process that the benchmark starts of itself: answers lines as the peer does.
int serve(const fs::path& run) {
  const Scratch page;
  std::ofstream(page / "index.html") << "<!doctype html>";
  viewer::ContentOptions options{.root = run, .page = (page / "index.html").parent_path()};
  options.search.without = true;
  const auto content = std::make_shared<viewer::Content>(options);
  viewer::Server server(content, {});
  std::thread thread([&] { server.run(); });
  std::cout << "ready\n" << std::flush;
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "port") std::cout << server.port() << '\n';
    if (line == "memory") std::cout << resident_mb() << '\n';
    if (line == "base") std::cout << "/data/r/" << content->runs().front().id << "/virtual\n";
    if (line == "cpu") std::cout << processor_seconds() << '\n';
    std::cout << std::flush;
  }
  server.stop();
  thread.join();
  return 0;
}

struct Load {
  double rate = 0, p50_ms = 0, p99_ms = 0, cpu_ms = 0;
  std::int64_t errors = 0;
  std::vector<double> memory;  ///< MB, at ten moments
};

/// `requests` random tiles of a pyramid of `width` x `height` px, by so many connections that are kept alive.
template <typename Url>
Load load(Peer& server, std::int64_t requests, int connections, const Url& url) {
  const int port = std::stoi(server.ask("port"));
  std::atomic<std::int64_t> next = 0, errors = 0;
  std::vector<std::vector<float>> times(static_cast<std::size_t>(connections));
  const double cpu = number(server.ask("cpu"));
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < connections; ++i) {
    threads.emplace_back([&, i] {
      httplib::Client client("127.0.0.1", port);
      client.set_keep_alive(true);
      client.set_tcp_nodelay(true);
      client.set_read_timeout(60);
      std::mt19937_64 random(static_cast<std::uint64_t>(i) + 1);
      while (next++ < requests) {
        const std::string path = url(random);
        const auto asked = Clock::now();
        const auto result = client.Get(path.c_str());
        times[static_cast<std::size_t>(i)].push_back(
            std::chrono::duration<float, std::milli>(Clock::now() - asked).count());
        if (!result || result->status != 200 || !result->body.starts_with("\xFF\xD8")) ++errors;
      }
    });
  }
  Load found;
  for (int moment = 0; moment < 10; ++moment) {
    while (next < requests * (moment + 1) / 10) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    found.memory.push_back(number(server.ask("memory")));
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::vector<float> all;
  for (const auto& own : times) all.insert(all.end(), own.begin(), own.end());
  std::ranges::sort(all);
  found.rate = static_cast<double>(all.size()) / seconds;
  found.p50_ms = all[all.size() / 2];
  found.p99_ms = all[all.size() * 99 / 100];
  found.cpu_ms = (number(server.ask("cpu")) - cpu) / static_cast<double>(all.size()) * 1000;
  found.errors = errors;
  return found;
}

void print(const char* name, const Load& load) {
  std::printf("%-10s %8.0f tiles/s  median %6.2f ms  99%% %7.2f ms  processor %.3f ms a tile  errors %lld\n", name,
              load.rate, load.p50_ms, load.p99_ms, load.cpu_ms, static_cast<long long>(load.errors));
  std::printf("%-10s memory, MB:", "");
  for (const double mb : load.memory) std::printf(" %.0f", mb);
  std::printf("\n");
}

std::int64_t below(std::mt19937_64& random, std::int64_t end) {
  return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(end));
}

/// Level by the share of its tiles, then a tile of it: what a reader who wanders over the whole slide asks for.
struct Pick {
  int level = 0;  ///< 0: the largest
  std::int64_t x = 0, y = 0;
};
Pick pick(std::mt19937_64& random, std::int64_t width, std::int64_t height, int tile_px) {
  Pick tile;
  while (tile.level < 5 && below(random, 4) == 0) ++tile.level;
  const auto count = [&](std::int64_t px) { return ((px >> tile.level) + tile_px - 1) / tile_px; };
  tile.x = below(random, count(width));
  tile.y = below(random, count(height));
  return tile;
}

int run(int argc, char** argv) {
  CLI::App app("Tiles over loopback beside OpenSlide Python's Deep Zoom generator");
  fs::path folder, serve_folder;
  std::int64_t requests = 100'000, peer_requests = 4'000;
  int connections = 32;
  app.add_option("run", folder, "a folder with virtual.tiff, of 8,000 px or more");
  app.add_option("--requests", requests, "of ours")->capture_default_str();
  app.add_option("--peer-requests", peer_requests, "of the peer; 0: it is left out")->capture_default_str();
  app.add_option("--connections", connections, "at once")->capture_default_str();
  app.add_option("--serve", serve_folder, "of the benchmark's own use");
  CLI11_PARSE(app, argc, argv);
  if (!serve_folder.empty()) return serve(serve_folder);

  const fs::path slide = folder / "virtual.tiff";
  const viewer::SlideTiles tiles(slide);
  const std::int64_t width = tiles.size().width, height = tiles.size().height;
  std::printf("%lld x %lld px, tiles of %d px, %d connections\n", static_cast<long long>(width),
              static_cast<long long>(height), tiles.tile_px(), connections);
  double peer_rate = 0;
  if (peer_requests > 0) {
    Peer peer({peers_python("slide-peers", "tools/get-slide-peers.sh").string(),
               std::string(VTISSUE_SOURCE_DIR) + "/benchmarks/viewer_peer.py", slide.string()});
    std::printf("peer: %s\n", peer.ask("version").c_str());
    const int last = std::stoi(peer.ask("levels")) - 1;
    const Load theirs = load(peer, peer_requests, connections, [&](std::mt19937_64& random) {
      const Pick tile = pick(random, width, height, 254);
      return fmt::format("/{}/{}_{}.jpeg", last - tile.level, tile.x, tile.y);
    });
    print("peer", theirs);
    peer_rate = theirs.rate;
  }
  Peer server({fs::read_symlink("/proc/self/exe").string(), "--serve", folder.string()});
  const std::string base = server.ask("base");
  const Load ours = load(server, requests, connections, [&](std::mt19937_64& random) {
    const Pick tile = pick(random, width, height, tiles.tile_px());
    return fmt::format("{}/{}/{}_{}.jpg?v=1", base, tile.level, tile.x, tile.y);
  });
  print("ours", ours);
  if (peer_rate > 0 && ours.errors == 0) std::printf("ratio %.1f\n", ours.rate / peer_rate);
  return ours.errors == 0 ? 0 : 1;
}

}  // namespace
}  // namespace vtissue::benchmarks

int main(int argc, char** argv) {
  try {
    return vtissue::benchmarks::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
