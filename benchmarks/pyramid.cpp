// A JPEG pyramid from pixels in memory, beside libvips.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "benchmarks/peer.h"
#include "core/error.h"
#include "io/pyramid_writer.h"
#include "io/slide_reader.h"

namespace vtissue::benchmarks {
namespace {

struct Writing {
  std::string picture;
  Box<LevelPx> box{{1024, 1024}, {7168, 7168}};
  int quality = 85;
  int threads = 2;
  int rounds = 7;
};

Writing parse(int argc, char** argv) {
  Writing writing;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name.starts_with("--") && i + 1 < argc) {
      const int value = std::max(1, std::atoi(argv[++i]));
      if (name == "--quality") writing.quality = value;
      if (name == "--threads") writing.threads = value;
      if (name == "--rounds") writing.rounds = value;
      if (name == "--side") writing.box.size = {value, value};
    } else {
      writing.picture = name;
    }
  }
  if (writing.picture.empty())
    throw Error(ErrorCode::kUsage, "benchmark_pyramid PICTURE [--side PX] [--quality Q] [--threads N] [--rounds N]");
  return writing;
}

std::vector<std::uint8_t> level0_of(const std::filesystem::path& path, Size<LevelPx> size) {
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(size.area()) * 3);
  io::SlideReader::open(path, {.mpp = 0.5})->read(0, {0, 0}, size, rgb);
  return rgb;
}

int run(const Writing& writing) {
  const Scratch scratch;
  const auto [width, height] = writing.box.size;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * height) * 3);
  io::SlideReader::open(writing.picture, {.mpp = 0.5})
      ->read(0, {writing.box.origin.x, writing.box.origin.y}, writing.box.size, pixels);
  std::ofstream(scratch / "pixels.rgb", std::ios::binary)
      .write(reinterpret_cast<const char*>(pixels.data()), static_cast<std::streamsize>(pixels.size()));
  Peer peer({peers_python("slide-peers", "tools/get-slide-peers.sh").string(),
             VTISSUE_SOURCE_DIR "/benchmarks/slide_peers.py", "pyramid", (scratch / "pixels.rgb").string(),
             std::to_string(width), std::to_string(height), std::to_string(writing.quality),
             std::to_string(writing.threads), (scratch / "peer.tiff").string()});
  io::PyramidOptions options;
  options.size = {width, height};
  options.mpp = 0.5;
  options.profile = io::PyramidProfile::kGeneric;
  options.block_px = 1024;  // small enough for the processor's caches
  options.quality = writing.quality;
  // As libvips does.
  options.sampling = writing.quality < 90 ? io::ChromaSampling::k420 : io::ChromaSampling::k444;
  const io::PixelRows all{pixels.data(), width, height, width * 3};
  const io::BlockPixels block = [&](Box<TargetPx> box, std::vector<std::uint8_t>&) {
    return all.box(box.origin.x, box.origin.y, box.size.width, box.size.height);
  };
  std::vector<double> ours, theirs, ratios, processor_ratios, worked_all;
  for (int round = 0; round <= writing.rounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    const double processor = processor_seconds();
    io::write_pyramid(scratch / "ours.tiff", options, block, writing.threads);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double worked = processor_seconds() - processor;
    const Peer::Times peer_times = peer.run_timed();
    if (round == 0) continue;
    ours.push_back(seconds);
    theirs.push_back(peer_times.wall);
    ratios.push_back(peer_times.wall / seconds);
    processor_ratios.push_back(peer_times.processor / worked);
    worked_all.push_back(worked);
  }
  const auto a = level0_of(scratch / "ours.tiff", writing.box.size);
  const auto b = level0_of(scratch / "peer.tiff", writing.box.size);
  double difference = 0, loss = 0, peer_loss = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::abs(a[i] - b[i]);
    loss += std::abs(a[i] - pixels[i]);
    peer_loss += std::abs(b[i] - pixels[i]);
  }
  const auto count = static_cast<double>(a.size());
  if (difference / count > 2) {
    std::fprintf(stderr, "the pyramids' pixels differ by %.2f levels on average; no ratio\n", difference / count);
    return 1;
  }
  const double megapixels = static_cast<double>(width * height) / 1e6;
  std::printf("%lld x %lld px, JPEG of quality %d, 4:%s, tiles of 256 px, %d threads; medians of %d interleaved runs\n",
              static_cast<long long>(width), static_cast<long long>(height), writing.quality,
              writing.quality < 90 ? "2:0" : "4:4", writing.threads, writing.rounds);
  std::printf("  mean difference between the two %.2f levels, from the original %.2f and %.2f\n", difference / count,
              loss / count, peer_loss / count);
  std::printf("  ours %8.1f MP/s (%.1f ms of the processor a megapixel), %.1f MB\n", megapixels / median(ours),
              median(worked_all) / megapixels * 1e3,
              static_cast<double>(std::filesystem::file_size(scratch / "ours.tiff")) / 1e6);
  std::printf("  %s %8.1f MP/s, %.1f MB   ratio %.2f (median of the pairs' %.2f; of processor time %.2f)\n",
              peer.ask("version").c_str(), megapixels / median(theirs),
              static_cast<double>(std::filesystem::file_size(scratch / "peer.tiff")) / 1e6,
              median(theirs) / median(ours), median(ratios), median(processor_ratios));
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
