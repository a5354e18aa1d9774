// From a slide to its list of tiles (mask, outlines, grid) beside OpenCV by CLAM's steps and histolab.

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>

#include "benchmarks/peer.h"
#include "core/error.h"
#include "io/slide_reader.h"
#include "stages/tile/slide_tissue.h"
#include "stages/tile/tile_grid.h"
#include "stages/tile/tissue_contours.h"

namespace vtissue::benchmarks {
namespace {

struct Listing {
  std::string slide;
  double mpp = 0.25;
  int tile_px = 256;  // level-0 pixels
  int rounds = 5;
};

Listing parse(int argc, char** argv) {
  Listing listing;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name.starts_with("--") && i + 1 < argc) {
      const std::string value = argv[++i];
      if (name == "--mpp") std::from_chars(value.data(), value.data() + value.size(), listing.mpp);
      if (name == "--tile-px") listing.tile_px = std::max(2, std::atoi(value.c_str()));
      if (name == "--rounds") listing.rounds = std::max(1, std::atoi(value.c_str()));
    } else {
      listing.slide = name;
    }
  }
  if (listing.slide.empty()) {
    throw Error(ErrorCode::kUsage, "benchmark_tile_list SLIDE [--mpp µm/px] [--tile-px N] [--rounds N]");
  }
  return listing;
}

using Tiles = std::set<std::pair<std::int64_t, std::int64_t>>;

struct Ours {
  Tiles tiles;
  std::size_t pieces = 0;
};

/// As the stage does it, from opening the slide on: tissue, artifacts, outlines, tiles with a quarter of tissue.
Ours list_tiles(const Listing& listing, std::string_view preset) {
  const auto slide = io::SlideReader::open(listing.slide, {.mpp = listing.mpp});
  stages::TissueOptions options;
  options.preset_name = preset;
  for (const auto& [name, values] : stages::tissue_presets()) {
    if (name == preset) options.preset = values;
  }
  const stages::SlideTissue found = stages::find_slide_tissue(*slide, listing.mpp, options, {});
  const Size<LevelPx> level0 = slide->info().levels.front().size;
  Ours ours;
  ours.pieces = stages::tissue_contours({found.tissue.size, found.tissue.mask}).size();
  const stages::TileGrid grid{.target_size = {level0.width, level0.height},
                              .scale = 1,
                              .tile_px = listing.tile_px,
                              .min_tissue = 0.25,
                              .region = {}};
  const stages::GridTiles tiles = stages::choose_tiles(grid, found.tissue.mask, found.tissue.size, found.downsample);
  for (const TileCell cell : tiles.cells) {
    ours.tiles.insert({std::int64_t{cell.column} * listing.tile_px / 2, std::int64_t{cell.row} * listing.tile_px / 2});
  }
  return ours;
}

Tiles read_list(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  Tiles tiles;
  for (std::int64_t xy[2]; file.read(reinterpret_cast<char*>(xy), sizeof(xy));) tiles.insert({xy[0], xy[1]});
  return tiles;
}

struct Times {
  std::vector<double> wall, processor;
  void add(const Peer::Times& times) {
    wall.push_back(times.wall);
    processor.push_back(times.processor);
  }
};

/// Shared tiles over all that either has.
double agreement(const Tiles& a, const Tiles& b) {
  std::size_t both = 0;
  for (const auto& tile : a) both += b.count(tile);
  const std::size_t all = a.size() + b.size() - both;
  return all == 0 ? 1 : static_cast<double>(both) / static_cast<double>(all);
}

int run(const Listing& listing) {
  const Scratch scratch;
  const std::string python = peers_python("tile-peers", "tools/get-tile-peers.sh").string();
  const std::string script = VTISSUE_SOURCE_DIR "/benchmarks/tile_list.py", side = std::to_string(listing.tile_px);
  const std::filesystem::path clam_list = scratch / "clam", histolab_list = scratch / "histolab";
  Peer clam({python, script, "clam", listing.slide, side, clam_list.string()});
  Peer histolab({python, script, "histolab", listing.slide, side, histolab_list.string()});
  Times with_clam, with_default, clam_times, histolab_times;
  Ours as_clam, usual;
  const auto timed = [&](std::string_view preset, Times& times) {
    const auto start = std::chrono::steady_clock::now();
    const double processor = processor_seconds();
    Ours ours = list_tiles(listing, preset);
    times.add({std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
               processor_seconds() - processor});
    return ours;
  };
  for (int round = 0; round <= listing.rounds; ++round) {
    as_clam = timed("clam_tcga", with_clam);
    usual = timed("default", with_default);
    clam_times.add(clam.run_timed());
    if (round > 0) continue;  // the file is in memory from then on
    with_clam = with_default = clam_times = {};
  }
  std::printf("tiles of %d px; medians of %d interleaved runs, histolab once; (of processor time)\n", listing.tile_px,
              listing.rounds);
  std::fflush(stdout);
  histolab_times.add(histolab.run_timed());  // minutes on a large slide
  clam.ask("save");
  histolab.ask("save");
  const Tiles clams = read_list(clam_list), histolabs = read_list(histolab_list);
  const double shared = agreement(as_clam.tiles, clams);
  const auto ours = [](const char* preset, const Times& times, const Ours& list) {
    std::printf("  ours, preset %-9s %7.3f s (%.3f)  %zu tiles, %zu pieces\n", preset, median(times.wall),
                median(times.processor), list.tiles.size(), list.pieces);
  };
  ours("default", with_default, usual);
  ours("clam_tcga", with_clam, as_clam);
  std::printf("  %s: %.3f s (%.3f), %zu tiles, %.1f %% of both lists shared with preset clam_tcga\n",
              clam.ask("version").c_str(), median(clam_times.wall), median(clam_times.processor), clams.size(),
              100 * shared);
  std::printf("  %s: %.3f s (%.3f), %zu tiles\n", histolab.ask("version").c_str(), median(histolab_times.wall),
              median(histolab_times.processor), histolabs.size());
  if (shared < 0.9 || clams.empty()) {
    std::fprintf(stderr, "the lists of preset clam_tcga and of CLAM's steps share too little; no ratio\n");
    return 1;
  }
  for (const auto& [preset, times] : {std::pair{"default", &with_default}, std::pair{"clam_tcga", &with_clam}}) {
    const auto ratio = [&times = times](const Times& peer) {
      return std::pair{median(peer.wall) / median(times->wall), median(peer.processor) / median(times->processor)};
    };
    const auto [to_clam, to_clam_processor] = ratio(clam_times);
    const auto [to_histolab, to_histolab_processor] = ratio(histolab_times);
    std::printf("  preset %s: ratio to CLAM's steps %.1f (%.1f), to histolab %.1f (%.1f)\n", preset, to_clam,
                to_clam_processor, to_histolab, to_histolab_processor);
  }
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
