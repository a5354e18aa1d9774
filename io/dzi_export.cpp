#include "io/dzi_export.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/jpeg_tile.h"
#include "io/resample.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;

/// One level of the picture: 2^-shift of the slide, and the slide's level that it is made from.
struct DziLevel {
  int number = 0;
  Size<TargetPx> size;
  int source = 0;
  double ratio = 1;  ///< source pixels a pixel
  std::int64_t tiles_x = 0, tiles_y = 0;
};

class DziExport {
 public:
  DziExport(const SlideReader& slide, fs::path tiles, const DziOptions& options, const std::function<bool()>& stop)
      : slide_(slide), tiles_(std::move(tiles)), options_(options), stop_(stop) {
    const Size<LevelPx> whole = slide.info().levels.front().size;
    const auto longest = static_cast<std::uint64_t>(std::max(whole.width, whole.height));
    const int last = std::bit_width(longest - 1);  // the logarithm, rounded up
    for (int number = 0; number <= last; ++number) levels_.push_back(level_of(number, last - number));
    for (const DziLevel& level : levels_) {
      first_.push_back(count_);
      count_ += level.tiles_x * level.tiles_y;
    }
  }

  void run() {
    for (const DziLevel& level : levels_) {
      std::error_code error;
      fs::create_directories(tiles_ / std::to_string(level.number), error);
      if (error) throw_output_error(tiles_, "create", error.value());
    }
    std::vector<std::thread> threads;
    threads.reserve(static_cast<std::size_t>(options_.threads));
    for (int thread = 0; thread < options_.threads; ++thread) threads.emplace_back([this] { work(); });
    for (std::thread& thread : threads) thread.join();
    if (failure_ != nullptr) std::rethrow_exception(failure_);
  }

 private:
  DziLevel level_of(int number, int shift) const {
    const auto& levels = slide_.info().levels;
    const Size<LevelPx> whole = levels.front().size;
    const double downsample = static_cast<double>(std::int64_t{1} << shift);
    DziLevel level;
    level.number = number;
    const auto shrunk = [&](std::int64_t px) { return (px + (std::int64_t{1} << shift) - 1) >> shift; };
    level.size = {shrunk(whole.width), shrunk(whole.height)};
    for (std::size_t i = 0; i < levels.size(); ++i) {
      if (levels[i].downsample <= downsample &&
          levels[i].downsample > levels[static_cast<std::size_t>(level.source)].downsample)
        level.source = static_cast<int>(i);
    }
    level.ratio = downsample / levels[static_cast<std::size_t>(level.source)].downsample;
    level.tiles_x = (level.size.width + options_.tile_px - 1) / options_.tile_px;
    level.tiles_y = (level.size.height + options_.tile_px - 1) / options_.tile_px;
    return level;
  }

  void work() {
    try {
      JpegEncoder jpeg({options_.jpeg_quality, ChromaSampling::k420});
      for (std::int64_t i = next_++; i < count_ && !failed_; i = next_++) {
        if (stop_ && stop_()) throw Error(ErrorCode::kInterrupted, "{}: stopped while it was written", tiles_.string());
        const auto after = std::upper_bound(first_.begin(), first_.end(), i);
        const auto level = static_cast<std::size_t>(after - first_.begin() - 1);
        const std::int64_t tile = i - first_[level];
        write_tile(levels_[level], tile % levels_[level].tiles_x, tile / levels_[level].tiles_x, jpeg);
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (failure_ == nullptr) failure_ = std::current_exception();
      failed_ = true;
    }
  }

  /// A tile and its overlap on inner sides.
  void write_tile(const DziLevel& level, std::int64_t tx, std::int64_t ty, JpegEncoder& jpeg) const {
    const std::int64_t tile = options_.tile_px, overlap = options_.overlap_px;
    const std::int64_t left = tx * tile - (tx > 0 ? overlap : 0), top = ty * tile - (ty > 0 ? overlap : 0);
    const std::int64_t right = std::min((tx + 1) * tile + overlap, level.size.width);
    const std::int64_t bottom = std::min((ty + 1) * tile + overlap, level.size.height);
    const Box<TargetPx> box{{left, top}, {right - left, bottom - top}};
    const SlideLevel& from = slide_.info().levels[static_cast<std::size_t>(level.source)];
    const auto source = [&](Box<LevelPx> part, std::span<std::uint8_t> out) {
      slide_.read(level.source, level_origin(from, part.origin), part.size, out);
    };
    std::vector<std::uint8_t> rgb(static_cast<std::size_t>(box.size.area()) * 3);
    const std::int64_t row_bytes = box.size.width * 3;
    area_resample(AreaAxis(level.ratio, from.size.width), AreaAxis(level.ratio, from.size.height), box, source,
                  rgb.data(), static_cast<std::size_t>(row_bytes));
    const auto stream =
        jpeg.encode(JpegEncoder::Stream::kFile, {rgb.data(), box.size.width, box.size.height, row_bytes});
    const fs::path path = tiles_ / std::to_string(level.number) / fmt::format("{}_{}.jpg", tx, ty);
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(stream.data()), static_cast<std::streamsize>(stream.size()));
    file.close();
    if (!file) throw_output_error(path, "write", errno);
  }

  const SlideReader& slide_;
  fs::path tiles_;
  const DziOptions& options_;
  const std::function<bool()>& stop_;
  std::vector<DziLevel> levels_;
  std::vector<std::int64_t> first_;  // number of a level's first tile
  std::int64_t count_ = 0;
  std::atomic<std::int64_t> next_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  std::exception_ptr failure_;
};

}  // namespace

void export_dzi(const SlideReader& slide, const fs::path& dzi, const DziOptions& options,
                const std::function<bool()>& stop) {
  if (dzi.extension() != ".dzi") throw Error(ErrorCode::kUsage, "{}: expected a name ending in .dzi", dzi.string());
  if (options.tile_px < 16 || options.tile_px > 8192 || options.overlap_px < 0 ||
      2 * options.overlap_px > options.tile_px || options.jpeg_quality < 1 || options.jpeg_quality > 100 ||
      options.threads < 1) {
    throw Error(
        ErrorCode::kUsage,
        "Deep Zoom tiles of {} px with {} px overlap, quality {}: expected 16 to 8192 px, an overlap of at most "
        "half, quality 1 to 100",
        options.tile_px, options.overlap_px, options.jpeg_quality);
  }
  const fs::path tiles = dzi.parent_path() / (dzi.stem().string() + "_files");
  const fs::path temporary = temporary_name(tiles);
  remove_leftovers(tiles);
  try {
    DziExport(slide, temporary, options, stop).run();
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
  publish(temporary, tiles);
  const Size<LevelPx> size = slide.info().levels.front().size;
  write_file_atomically(dzi, fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                                         "<Image xmlns=\"http://schemas.microsoft.com/deepzoom/2008\" Format=\"jpg\" "
                                         "Overlap=\"{}\" TileSize=\"{}\"><Size Width=\"{}\" Height=\"{}\"/></Image>\n",
                                         options.overlap_px, options.tile_px, size.width, size.height));
}

}  // namespace vtissue::io
