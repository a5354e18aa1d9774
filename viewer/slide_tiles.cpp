#include "viewer/slide_tiles.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <semaphore>
#include <span>
#include <thread>
#include <tuple>

#include "core/error.h"
#include "core/hash.h"
#include "io/jpeg_tile.h"
#include "io/resample.h"
#include "io/tiff_levels.h"
#include "io/tiff_tags.h"
#include "viewer/browser_jpeg.h"
#include "viewer/byte_cache.h"

namespace vtissue::viewer {
namespace {

namespace fs = std::filesystem;

constexpr int kTilePx = 256;  // of slides whose own tiles cannot be given away
constexpr int kSmallestTile = 128, kLargestTile = 1024;

std::int64_t shrunk(std::int64_t px, int level) { return (px + (std::int64_t{1} << level) - 1) >> level; }

/// A TIFF's image of exactly that size, if there is one and no other.
const io::TiffLevel* find_level(const io::TiffLevels& tiff, Size<LevelPx> size) {
  const io::TiffLevel* found = nullptr;
  for (const auto* images : {&tiff.chain, &tiff.subifds}) {
    for (const io::TiffLevel& image : *images) {
      if (image.size != size) continue;
      if (found != nullptr) return nullptr;
      found = &image;
    }
  }
  return found;
}

/// Formats whose levels are the TIFF's images and nothing else: no bounds, no filling in.
bool shows_tiff_as_it_is(const std::string& format) {
  return format == "aperio" || format == "generic-tiff" || format == "ome-tiff";
}

}  // namespace

struct SlideTiles::Stored {
  int file = -1;
  std::vector<std::optional<io::TiffLevel>> levels;
  ~Stored() {
    if (file >= 0) ::close(file);
  }
};

struct SlideTiles::Cache {
  explicit Cache(std::ptrdiff_t makers) : free(makers) {}
  ByteCache<std::tuple<int, std::int64_t, std::int64_t>> tiles{kCacheBytes};
  std::counting_semaphore<> free;  // threads that may decode at once
};

SlideTiles::SlideTiles(const fs::path& path, std::optional<double> mpp)
    : version_(file_version(path)),
      stored_(std::make_unique<Stored>()),
      cache_(std::make_unique<Cache>(std::max(1u, std::thread::hardware_concurrency()))) {
  slide_ = io::SlideReader::open(path, {.mpp = mpp});
  const io::SlideInfo& info = slide_->info();
  if (!info.mpp) throw Error(ErrorCode::kBadInput, "{}: no µm/px in the slide; pass --mpp", path.string());
  mpp_ = info.mpp->x;
  size_ = info.levels.front().size;

  io::TiffLevels tiff;
  if (shows_tiff_as_it_is(info.format)) tiff = io::read_tiff_levels(path);
  const io::TiffLevel* const first = find_level(tiff, size_);
  if (first != nullptr && first->compression == io::kTiffJpeg && first->tile_width == first->tile_height &&
      first->tile_width >= kSmallestTile && first->tile_width <= kLargestTile) {
    tile_px_ = first->tile_width;
  }
  while (std::max(shrunk(size_.width, levels_ - 1), shrunk(size_.height, levels_ - 1)) > tile_px_) ++levels_;

  stored_->levels.resize(static_cast<std::size_t>(levels_));
  for (int level = 0; level < levels_; ++level) {
    for (const io::SlideLevel& own : info.levels) {
      if (own.downsample != static_cast<double>(std::int64_t{1} << level)) continue;
      const io::TiffLevel* const image = find_level(tiff, own.size);
      if (image != nullptr && image->compression == io::kTiffJpeg && image->tile_width == tile_px_ &&
          image->tile_height == tile_px_)
        stored_->levels[static_cast<std::size_t>(level)] = *image;
    }
  }
  stored_->file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (stored_->file < 0)
    throw Error(ErrorCode::kBadInput, "{}: cannot be read: {}", path.string(), std::strerror(errno));
}

SlideTiles::~SlideTiles() = default;

Size<LevelPx> SlideTiles::level_size(int level) const {
  return {shrunk(size_.width, level), shrunk(size_.height, level)};
}

Size<LevelPx> SlideTiles::tiles_of(int level) const {
  const Size<LevelPx> size = level_size(level);
  return {(size.width + tile_px_ - 1) / tile_px_, (size.height + tile_px_ - 1) / tile_px_};
}

bool SlideTiles::is_stored(int level, std::int64_t x, std::int64_t y) const {
  const auto& image = stored_->levels[static_cast<std::size_t>(level)];
  // The rest of a tile that reaches over the edge is no part of the slide.
  const Size<LevelPx> shown = level_size(level);
  return image && (x + 1) * tile_px_ <= std::min(shown.width, image->size.width) &&
         (y + 1) * tile_px_ <= std::min(shown.height, image->size.height);
}

SlideTiles::Bytes SlideTiles::tile(int level, std::int64_t x, std::int64_t y) {
  if (level < 0 || level >= levels_ || x < 0 || y < 0) return nullptr;
  const Size<LevelPx> tiles = tiles_of(level);
  if (x >= tiles.width || y >= tiles.height) return nullptr;
  if (is_stored(level, x, y)) {
    if (Bytes stored = read_stored(level, x, y)) return stored;
  }
  const std::tuple key{level, x, y};
  if (Bytes kept = cache_->tiles.find(key)) return kept;
  cache_->free.acquire();
  struct Release {
    std::counting_semaphore<>& free;
    ~Release() { free.release(); }
  } const release{cache_->free};
  if (Bytes kept = cache_->tiles.find(key)) return kept;  // made by another while this one waited
  Bytes made = make(level, x, y);
  cache_->tiles.keep(key, made);
  return made;
}

SlideTiles::Bytes SlideTiles::read_stored(int level, std::int64_t x, std::int64_t y) const {
  const io::TiffLevel& image = *stored_->levels[static_cast<std::size_t>(level)];
  const auto tile = static_cast<std::size_t>(y * image.tiles_x + x);
  // More than its pixels are: not a tile that a browser should have.
  const auto most = static_cast<std::uint64_t>(tile_px_) * static_cast<std::uint64_t>(tile_px_) * 4;
  if (image.tile_bytes[tile] > most) return nullptr;
  std::vector<std::byte> stream(image.tile_bytes[tile]);
  for (std::size_t done = 0; done < stream.size();) {
    const ssize_t got = ::pread(stored_->file, stream.data() + done, stream.size() - done,
                                static_cast<off_t>(image.tile_offsets[tile] + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return nullptr;
    done += static_cast<std::size_t>(got);
  }
  auto file = browser_jpeg(image.jpeg_tables, stream, image.is_ycbcr, tile_px_, tile_px_);
  return file ? std::make_shared<const std::string>(*std::move(file)) : nullptr;
}

SlideTiles::Bytes SlideTiles::make(int level, std::int64_t x, std::int64_t y) const {
  const auto downsample = static_cast<double>(std::int64_t{1} << level);
  const auto& levels = slide_->info().levels;
  std::size_t source = 0;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    if (levels[i].downsample <= downsample && levels[i].downsample > levels[source].downsample) source = i;
  }
  const io::SlideLevel& from = levels[source];
  const double ratio = downsample / from.downsample;
  const Size<LevelPx> whole = level_size(level);
  const Box<TargetPx> box{{x * tile_px_, y * tile_px_},
                          {std::min<std::int64_t>(tile_px_, whole.width - x * tile_px_),
                           std::min<std::int64_t>(tile_px_, whole.height - y * tile_px_)}};
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(box.size.area()) * 3);
  const auto pixels = [&](Box<LevelPx> part, std::span<std::uint8_t> out) {
    slide_->read(static_cast<int>(source), io::level_origin(from, part.origin), part.size, out);
  };
  const std::int64_t row_bytes = box.size.width * 3;
  io::area_resample(io::AreaAxis(ratio, from.size.width), io::AreaAxis(ratio, from.size.height), box, pixels,
                    rgb.data(), static_cast<std::size_t>(row_bytes));
  io::JpegEncoder jpeg({kJpegQuality, io::ChromaSampling::k420});
  const auto stream =
      jpeg.encode(io::JpegEncoder::Stream::kFile, {rgb.data(), box.size.width, box.size.height, row_bytes});
  return std::make_shared<const std::string>(reinterpret_cast<const char*>(stream.data()), stream.size());
}

std::string file_version(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  const std::string stamp =
      fmt::format("{}-{}.{}-{}.{}-{}", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                  status.st_ctim.tv_sec, status.st_ctim.tv_nsec, status.st_ino);
  return sha256(stamp).substr(0, 16);
}

}  // namespace vtissue::viewer
