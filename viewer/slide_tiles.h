#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/units.h"
#include "io/slide_reader.h"

namespace vtissue::viewer {

/// A slide as square tiles of JPEG, every level half of the one before: level 0 is the slide itself, the last one fits
/// into one tile. A tile at the right or bottom edge ends with the slide. Level l has ceil(size / 2^l) pixels.
/// Thread-safe.
class SlideTiles {
 public:
  static constexpr std::size_t kCacheBytes = 48 << 20;  ///< of tiles that had to be made
  static constexpr int kJpegQuality = 90;               ///< of those, 4:2:0

  /// `mpp`: µm/px of level 0 where the caller knows it better than the file. Throws Error kBadInput as
  /// io::SlideReader::open(), and for a slide without µm/px.
  explicit SlideTiles(const std::filesystem::path& path, std::optional<double> mpp = std::nullopt);
  ~SlideTiles();
  SlideTiles(const SlideTiles&) = delete;
  SlideTiles& operator=(const SlideTiles&) = delete;

  Size<LevelPx> size() const { return size_; }
  double mpp() const { return mpp_; }
  int tile_px() const { return tile_px_; }
  int levels() const { return levels_; }
  const std::string& format() const { return slide_->info().format; }
  std::optional<double> objective_power() const { return slide_->info().objective_power; }
  /// Changes when the file does: of its size, times and inode when it was opened.
  const std::string& version() const { return version_; }
  Size<LevelPx> level_size(int level) const;
  /// Columns and rows of tiles.
  Size<LevelPx> tiles_of(int level) const;

  using Bytes = std::shared_ptr<const std::string>;
  /// A JPEG file; null if there is no such tile. Where the slide's own tile is a JPEG of the same pixels it is given as
  /// it is stored, otherwise it is decoded, shrunk and encoded, by at most as many threads at once as there are cores.
  /// Throws Error kBadInput if the slide cannot be decoded there.
  Bytes tile(int level, std::int64_t x, std::int64_t y);
  /// Whether that tile is given as it is stored.
  bool is_stored(int level, std::int64_t x, std::int64_t y) const;

 private:
  struct Stored;  ///< levels of the file whose tiles can be given away
  struct Cache;
  Bytes read_stored(int level, std::int64_t x, std::int64_t y) const;
  Bytes make(int level, std::int64_t x, std::int64_t y) const;

  std::shared_ptr<const io::SlideReader> slide_;
  Size<LevelPx> size_;
  double mpp_ = 0;
  int tile_px_ = 256, levels_ = 1;
  std::string version_;
  std::unique_ptr<Stored> stored_;
  std::unique_ptr<Cache> cache_;
};

/// Of a file's size, times and inode: another one once the file was replaced. Empty if there is no such file.
std::string file_version(const std::filesystem::path& path);

}  // namespace vtissue::viewer
