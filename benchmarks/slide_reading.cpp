// Tiles of a slide, RGB out, beside openslide-python with a thread pool.

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "benchmarks/peer.h"
#include "core/error.h"
#include "io/slide_reader.h"

namespace vtissue::benchmarks {
namespace {

struct Reading {
  std::string slide;
  int level = 0;
  int tile_px = 256;
  int threads = 2;
  int rounds = 7;
};

Reading parse(int argc, char** argv) {
  Reading reading;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name.starts_with("--") && i + 1 < argc) {
      const int value = std::max(0, std::atoi(argv[++i]));
      if (name == "--level") reading.level = value;
      if (name == "--tile-px") reading.tile_px = std::max(1, value);
      if (name == "--threads") reading.threads = std::max(1, value);
      if (name == "--rounds") reading.rounds = std::max(1, value);
    } else {
      reading.slide = name;
    }
  }
  if (reading.slide.empty())
    throw Error(ErrorCode::kUsage,
                "benchmark_slide_reading SLIDE [--level N] [--tile-px N] [--threads N] [--rounds N]");
  return reading;
}

using Tiles = std::vector<std::vector<std::uint8_t>>;

/// All whole tiles, row by row.
Tiles read_tiles(const Reading& reading) {
  const auto slide = io::SlideReader::open(reading.slide);  // anew each time: what it has cached would not be read
  const io::SlideLevel& level = slide->info().levels.at(static_cast<std::size_t>(reading.level));
  const std::int64_t tile = reading.tile_px, across = level.size.width / tile, down = level.size.height / tile;
  Tiles tiles(static_cast<std::size_t>(across * down));
  std::atomic<std::int64_t> next = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < reading.threads; ++thread) {
    threads.emplace_back([&] {
      for (std::int64_t i = next++; i < across * down; i = next++) {
        std::vector<std::uint8_t>& rgb = tiles[static_cast<std::size_t>(i)];
        rgb.resize(static_cast<std::size_t>(tile * tile) * 3);
        slide->read(reading.level, io::level_origin(level, {i % across * tile, i / across * tile}), {tile, tile}, rgb);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return tiles;
}

/// The largest difference between our tiles and the peer's; -1 if there are others.
int largest_difference(const Tiles& tiles, const std::filesystem::path& peers) {
  std::ifstream file(peers, std::ios::binary);
  int largest = 0;
  std::vector<std::uint8_t> other;
  for (const auto& tile : tiles) {
    other.resize(tile.size());
    file.read(reinterpret_cast<char*>(other.data()), static_cast<std::streamsize>(other.size()));
    if (static_cast<std::size_t>(file.gcount()) != other.size()) return -1;
    for (std::size_t i = 0; i < tile.size(); ++i) largest = std::max(largest, std::abs(tile[i] - other[i]));
  }
  return file.peek() == std::ifstream::traits_type::eof() ? largest : -1;
}

int run(const Reading& reading) {
  const Scratch scratch;
  Peer peer({peers_python("slide-peers", "tools/get-slide-peers.sh").string(),
             VTISSUE_SOURCE_DIR "/benchmarks/slide_peers.py", "read", reading.slide, std::to_string(reading.level),
             std::to_string(reading.tile_px), std::to_string(reading.threads), (scratch / "tiles.rgb").string()});
  std::vector<double> ours, theirs, ratios, processor_ratios;
  Tiles tiles;
  for (int round = 0; round <= reading.rounds; ++round) {
    tiles = {};
    const auto start = std::chrono::steady_clock::now();
    const double processor = processor_seconds();
    tiles = read_tiles(reading);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double worked = processor_seconds() - processor;
    const Peer::Times peer_times = peer.run_timed();
    if (round == 0) continue;  // the file is in memory from then on
    ours.push_back(seconds);
    theirs.push_back(peer_times.wall);
    ratios.push_back(peer_times.wall / seconds);
    processor_ratios.push_back(peer_times.processor / worked);
  }
  peer.ask("save");
  const int difference = largest_difference(tiles, scratch / "tiles.rgb");
  if (difference < 0 || difference > 2) {
    std::fprintf(stderr, "the tiles differ by %d levels; no ratio\n", difference);
    return 1;
  }
  const double megapixels = static_cast<double>(tiles.size()) * reading.tile_px * reading.tile_px / 1e6;
  std::printf("%zu tiles of %d px, level %d, %d threads; largest difference %d; medians of %d interleaved runs\n",
              tiles.size(), reading.tile_px, reading.level, reading.threads, difference, reading.rounds);
  std::printf("  ours %8.1f MP/s\n", megapixels / median(ours));
  std::printf("  %s %8.1f MP/s   ratio %.2f (median of the pairs' %.2f; of processor time %.2f)\n",
              peer.ask("version").c_str(), megapixels / median(theirs), median(theirs) / median(ours), median(ratios),
              median(processor_ratios));
  return 0;
}

}  // namespace
}  // namespace vtissue::benchmarks

int main(int argc, char** argv) {
  try {
    return vtissue::benchmarks::run(vtissue::benchmarks::parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
