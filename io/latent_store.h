#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/units.h"

/// `latents/`, the result of synthesis: index.json and part-00000.safetensors, part-00001… of up to
/// kLatentPartTiles tiles each, in the canonical order of the cells. A part holds "latents" F16
/// [n, channels, size, size] and "cells" I32 [n, 2] as (column, row). The index names format, version,
/// channels, size, tile_px, seed, the slide's SHA-256, what made them, the number of tiles, and of each part its file,
/// tiles, bytes and SHA-256. Equal content gives equal bytes.
namespace vtissue::io {

inline constexpr std::size_t kLatentPartTiles = 1024;

struct LatentStoreInfo {
  int channels = 0;
  int size = 0;              ///< side of a tile in latents
  int tile_px = 0;           ///< side of a tile in pixels at the target µm/px
  std::uint64_t seed = 0;    ///< of the initial noise
  std::string slide_sha256;  ///< of the slide that the tiles lie on; empty if unknown
  /// What made them: "settings" of the synthesis, "models" as role → {"name", "sha256"}. An object; empty: not stated.
  nlohmann::json made_by = nlohmann::json::object();
  bool operator==(const LatentStoreInfo&) const = default;
};

/// Writes a store part by part; holds one part in memory. Single thread.
class LatentWriter {
 public:
  /// Makes `folder`, which must not hold a store yet, unless of a killed run: files of the same names
  /// are replaced. `cells` sorted and unique. Throws Error kOutput.
  LatentWriter(std::filesystem::path folder, const LatentStoreInfo& info, std::span<const TileCell> cells);

  /// Binary16 values [n, channels, size, size] of the next n tiles. Throws Error kOutput.
  void append(std::span<const std::uint16_t> values);

  /// Writes the last part, then the index. Throws std::logic_error if there is not one tile a cell,
  /// Error kOutput.
  void finish();

 private:
  struct Part {
    std::size_t tiles;
    std::size_t bytes;
    std::string sha256;
  };
  void write_part();

  std::filesystem::path folder_;
  LatentStoreInfo info_;
  std::vector<TileCell> cells_;
  std::vector<std::uint16_t> pending_;
  std::size_t written_ = 0;  ///< tiles in parts
  std::vector<Part> parts_;
};

/// Random access by tile; parts are mapped. Thread-safe.
class LatentReader {
 public:
  /// Checks the index and each part's size, shapes and cells. Throws Error kBadInput that names the
  /// file and what is wrong.
  explicit LatentReader(const std::filesystem::path& folder);
  ~LatentReader();
  LatentReader(const LatentReader&) = delete;
  LatentReader& operator=(const LatentReader&) = delete;

  const LatentStoreInfo& info() const;
  const std::vector<TileCell>& cells() const;  ///< sorted, unique

  /// Values of the tile at `index` in cells(): out [channels, size, size]. A part's digest is checked
  /// when it is first read. Throws Error kBadInput.
  void read(std::size_t index, std::span<float> out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vtissue::io
