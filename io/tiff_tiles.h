#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/units.h"
#include "io/jpeg_decoder.h"
#include "io/tiff_levels.h"

namespace vtissue::io {

/// Reads boxes of a TIFF's levels straight from the tiles' data: whole tiles are decoded into the box, tiles that a box
/// cuts are kept in a cache of at most kCacheBytes. Thread-safe.
class TiffTiles {
 public:
  static constexpr std::size_t kCacheBytes = 32 << 20;

  /// Throws Error kBadInput if the file cannot be opened.
  TiffTiles(std::filesystem::path path, std::vector<TiffLevel> levels);
  ~TiffTiles();
  TiffTiles(const TiffTiles&) = delete;
  TiffTiles& operator=(const TiffTiles&) = delete;

  const std::vector<TiffLevel>& levels() const { return levels_; }

  /// Whether a level of this index is one to be read (a level of no size stands in for one that is not).
  bool has(std::size_t level) const { return level < levels_.size() && !levels_[level].size.empty(); }

  /// Fills `out` [h, w, 3]; what is outside the level is white. Throws Error kBadInput for tiles that are damaged:
  /// their pixels would be invented. Returns false, `out` then undefined, if a tile is of another kind than its
  /// directory says.
  bool read(std::size_t level, Box<LevelPx> box, std::span<std::uint8_t> out) const;

 private:
  struct Cache;
  struct Worker;
  class Lease;

  using Pixels = std::shared_ptr<const std::vector<std::uint8_t>>;

  TileState decode(Worker& worker, const TiffLevel& level, std::int64_t tile, std::uint8_t* out, std::int64_t row_bytes,
                   std::string& message) const;
  TileState decode_with_libtiff(Worker& worker, const TiffLevel& level, std::int64_t tile, std::uint8_t* out,
                                std::int64_t row_bytes, std::string& message) const;

  std::filesystem::path path_;
  std::vector<TiffLevel> levels_;
  int file_ = -1;
  std::unique_ptr<Cache> cache_;
};

}  // namespace vtissue::io
