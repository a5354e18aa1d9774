#include "io/tiff_tiles.h"

#include <fcntl.h>
#include <tiffio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "core/error.h"
#include "io/jpeg2000_decoder.h"
#include "io/tiff_tags.h"

namespace vtissue::io {

/// What one reading thread needs.
struct TiffTiles::Worker {
  JpegDecoder jpeg;
  std::unique_ptr<TIFF, void (*)(TIFF*)> tiff{nullptr, TIFFClose};  ///< of the lossless codecs; opened when needed
  std::uint64_t tiff_directory = 0;
  std::vector<std::byte> stream;
  std::vector<std::uint8_t> tile;
};

/// Decoded tiles, the longest unused let go first, and the workers that are not at work.
struct TiffTiles::Cache {
  using Key = std::pair<std::size_t, std::int64_t>;
  struct Entry {
    Key key;
    Pixels pixels;
  };

  std::mutex mutex;
  std::condition_variable decoded;
  std::list<Entry> entries;  // the latest used first
  std::map<Key, std::list<Entry>::iterator> places;
  std::set<Key> claimed;  // being decoded by somebody
  std::size_t bytes = 0;
  std::vector<std::unique_ptr<Worker>> idle;

  Pixels find(Key key) {
    const std::lock_guard lock(mutex);
    return found(key);
  }

  /// The pixels; or null, and the caller has to decode them and keep() or give_up(); or null and `busy`, and another
  /// thread is at it.
  Pixels find_or_claim(Key key, bool& busy) {
    const std::lock_guard lock(mutex);
    Pixels pixels = found(key);
    busy = pixels == nullptr && !claimed.insert(key).second;
    return pixels;
  }

  /// The same, but waits for the other thread.
  Pixels wait_or_claim(Key key) {
    std::unique_lock lock(mutex);
    decoded.wait(lock, [&] { return !claimed.contains(key); });
    Pixels pixels = found(key);
    if (pixels == nullptr) claimed.insert(key);
    return pixels;
  }

  void keep(Key key, Pixels pixels) {
    {
      const std::lock_guard lock(mutex);
      claimed.erase(key);
      bytes += pixels->size();
      entries.push_front({key, std::move(pixels)});
      places[key] = entries.begin();
      while (bytes > kCacheBytes && entries.size() > 1) {
        bytes -= entries.back().pixels->size();
        places.erase(entries.back().key);
        entries.pop_back();
      }
    }
    decoded.notify_all();
  }

  void give_up(Key key) {
    {
      const std::lock_guard lock(mutex);
      claimed.erase(key);
    }
    decoded.notify_all();
  }

 private:
  Pixels found(Key key) {
    const auto place = places.find(key);
    if (place == places.end()) return nullptr;
    entries.splice(entries.begin(), entries, place->second);
    return place->second->pixels;
  }
};

/// A worker for the time of a read.
class TiffTiles::Lease {
 public:
  explicit Lease(Cache& cache) : cache_(cache) {
    {
      const std::lock_guard lock(cache_.mutex);
      if (!cache_.idle.empty()) {
        worker_ = std::move(cache_.idle.back());
        cache_.idle.pop_back();
      }
    }
    if (worker_ == nullptr) worker_ = std::make_unique<Worker>();
  }
  ~Lease() {
    const std::lock_guard lock(cache_.mutex);
    cache_.idle.push_back(std::move(worker_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  Worker& operator*() { return *worker_; }

 private:
  Cache& cache_;
  std::unique_ptr<Worker> worker_;
};

TiffTiles::TiffTiles(std::filesystem::path path, std::vector<TiffLevel> levels)
    : path_(std::move(path)), levels_(std::move(levels)), cache_(std::make_unique<Cache>()) {
  file_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) throw Error(ErrorCode::kBadInput, "{}: cannot be read: {}", path_.string(), std::strerror(errno));
}

TiffTiles::~TiffTiles() { ::close(file_); }

bool TiffTiles::read(std::size_t level, Box<LevelPx> box, std::span<std::uint8_t> out) const {
  const TiffLevel& at = levels_[level];
  const std::int64_t right = box.origin.x + box.size.width, bottom = box.origin.y + box.size.height;
  const std::int64_t left_in = std::max<std::int64_t>(0, box.origin.x),
                     top_in = std::max<std::int64_t>(0, box.origin.y);
  const std::int64_t right_in = std::min(right, at.size.width), bottom_in = std::min(bottom, at.size.height);
  const bool is_inside = left_in == box.origin.x && top_in == box.origin.y && right_in == right && bottom_in == bottom;
  if (!is_inside) std::fill(out.begin(), out.end(), 255);
  if (left_in >= right_in || top_in >= bottom_in) return true;

  const std::int64_t row_bytes = box.size.width * 3, tile_row_bytes = std::int64_t{at.tile_width} * 3;
  Lease lease(*cache_);
  const auto decode_to = [&](std::int64_t tile, std::uint8_t* to, std::int64_t to_row_bytes) {
    std::string message;
    const TileState state = decode(*lease, at, tile, to, to_row_bytes, message);
    if (state == TileState::kDamaged) {
      throw Error(ErrorCode::kBadInput,
                  "{}: level {}, box at ({}, {}) of {} x {} px cannot be decoded: tile ({}, {}) at byte {}: {}",
                  path_.string(), level, box.origin.x, box.origin.y, box.size.width, box.size.height, tile % at.tiles_x,
                  tile / at.tiles_x, at.tile_offsets[static_cast<std::size_t>(tile)], message);
    }
    return state == TileState::kDecoded;
  };
  /// Decodes a claimed tile into the cache; null if it is of another kind.
  const auto decode_claimed = [&](std::int64_t tile) -> Pixels {
    try {
      auto pixels =
          std::make_shared<std::vector<std::uint8_t>>(static_cast<std::size_t>(tile_row_bytes * at.tile_height));
      if (decode_to(tile, pixels->data(), tile_row_bytes)) {
        cache_->keep({level, tile}, pixels);
        return pixels;
      }
    } catch (...) {
      cache_->give_up({level, tile});
      throw;
    }
    cache_->give_up({level, tile});
    return nullptr;
  };
  const auto place = [&](const std::vector<std::uint8_t>& pixels, std::int64_t tile) {
    const std::int64_t tile_left = tile % at.tiles_x * at.tile_width, tile_top = tile / at.tiles_x * at.tile_height;
    const std::int64_t left = std::max(left_in, tile_left), end = std::min(right_in, tile_left + at.tile_width);
    const std::int64_t top = std::max(top_in, tile_top), last = std::min(bottom_in, tile_top + at.tile_height);
    const std::uint8_t* const from = pixels.data() + (top - tile_top) * tile_row_bytes + (left - tile_left) * 3;
    std::uint8_t* const to = out.data() + (top - box.origin.y) * row_bytes + (left - box.origin.x) * 3;
    for (std::int64_t row = 0; row < last - top; ++row)
      std::copy_n(from + row * tile_row_bytes, (end - left) * 3, to + row * row_bytes);
  };

  std::vector<std::int64_t> with_others;  // tiles that other threads are decoding
  for (std::int64_t ty = top_in / at.tile_height; ty * at.tile_height < bottom_in; ++ty) {
    for (std::int64_t tx = left_in / at.tile_width; tx * at.tile_width < right_in; ++tx) {
      const std::int64_t tile = ty * at.tiles_x + tx, left = tx * at.tile_width, top = ty * at.tile_height;
      const bool is_whole =
          left >= left_in && left + at.tile_width <= right_in && top >= top_in && top + at.tile_height <= bottom_in;
      if (is_whole) {
        if (const Pixels kept = cache_->find({level, tile})) {
          place(*kept, tile);
          continue;
        }
        std::uint8_t* const to = out.data() + (top - box.origin.y) * row_bytes + (left - box.origin.x) * 3;
        if (!decode_to(tile, to, row_bytes)) return false;
        continue;
      }
      bool busy = false;
      Pixels pixels = cache_->find_or_claim({level, tile}, busy);
      if (busy) {
        with_others.push_back(tile);
        continue;
      }
      if (pixels == nullptr) pixels = decode_claimed(tile);
      if (pixels == nullptr) return false;
      place(*pixels, tile);
    }
  }
  for (const std::int64_t tile : with_others) {
    Pixels pixels = cache_->wait_or_claim({level, tile});
    if (pixels == nullptr) pixels = decode_claimed(tile);
    if (pixels == nullptr) return false;
    place(*pixels, tile);
  }
  return true;
}

TileState TiffTiles::decode(Worker& worker, const TiffLevel& level, std::int64_t tile, std::uint8_t* out,
                            std::int64_t row_bytes, std::string& message) const {
  const bool is_jpeg = level.compression == kTiffJpeg;
  if (!is_jpeg && level.compression != kTiffJpeg2000Rgb && level.compression != kTiffJpeg2000YCbCr)
    return decode_with_libtiff(worker, level, tile, out, row_bytes, message);
  const std::uint64_t offset = level.tile_offsets[static_cast<std::size_t>(tile)];
  worker.stream.resize(level.tile_bytes[static_cast<std::size_t>(tile)]);
  for (std::size_t done = 0; done < worker.stream.size();) {
    const ssize_t got =
        ::pread(file_, worker.stream.data() + done, worker.stream.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      message = got == 0 ? "the file ends before it" : std::strerror(errno);
      return TileState::kDamaged;
    }
    done += static_cast<std::size_t>(got);
  }
  if (is_jpeg) {
    return worker.jpeg.decode(level.jpeg_tables, worker.stream, level.is_ycbcr, level.tile_width, level.tile_height,
                              out, row_bytes, message);
  }
  return decode_jpeg2000(worker.stream, level.is_ycbcr, level.tile_width, level.tile_height, out, row_bytes, message);
}

TileState TiffTiles::decode_with_libtiff(Worker& worker, const TiffLevel& level, std::int64_t tile, std::uint8_t* out,
                                         std::int64_t row_bytes, std::string& message) const {
  message = "libtiff cannot decode it";
  if (worker.tiff == nullptr) {
    worker.tiff.reset(TIFFOpen(path_.c_str(), "rm"));
    worker.tiff_directory = 0;
    if (worker.tiff == nullptr) return TileState::kDamaged;
  }
  TIFF* const tiff = worker.tiff.get();
  if (worker.tiff_directory != level.directory_offset) {
    if (TIFFSetSubDirectory(tiff, level.directory_offset) != 1) return TileState::kDamaged;
    worker.tiff_directory = level.directory_offset;
  }
  worker.tile.resize(static_cast<std::size_t>(level.tile_width) * static_cast<std::size_t>(level.tile_height) * 3);
  const auto bytes = static_cast<tmsize_t>(worker.tile.size());
  if (TIFFTileSize(tiff) != bytes) return TileState::kUnsupported;
  if (TIFFReadEncodedTile(tiff, static_cast<std::uint32_t>(tile), worker.tile.data(), bytes) != bytes)
    return TileState::kDamaged;
  for (int row = 0; row < level.tile_height; ++row)
    std::copy_n(worker.tile.data() + static_cast<std::ptrdiff_t>(row) * level.tile_width * 3, level.tile_width * 3,
                out + row * row_bytes);
  return TileState::kDecoded;
}

}  // namespace vtissue::io
