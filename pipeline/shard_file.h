#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pipeline/artifact_record.h"
#include "pipeline/chunk_store.h"
#include "pipeline/run_context.h"

namespace vtissue::pipeline {

/// What a shard's file says of itself: which share of which work.
struct ShardInfo {
  std::string stage;
  int stage_format = 0;
  std::string fingerprint;  ///< of the whole stage: equal for all shards that belong together
  nlohmann::json identity;
  InputDigests inputs;
  Shard shard;
};

/// The chunks that a shard of a stage's work has computed, in one file; the chunks do not depend on how many shards
/// there are. Immutable; thread-safe.
///
///     0   8 bytes  "VTSHARD\n"
///     8   u32      layout version, 1
///     12  u32      0
///     16           the chunks' contents, one after another
///                  the index, JSON: ShardInfo, and of each chunk id, offset, bytes, XXH3-64
///     -24 u64      size of the index in bytes
///     -16 u64      XXH3-64 of the index
///     -8  8 bytes  "VTSHARD\n"
///
/// Numbers are little-endian.
class ShardFile {
 public:
  /// Throws Error kBadInput if it is missing, none, cut off or damaged.
  explicit ShardFile(std::filesystem::path path);
  ~ShardFile();
  ShardFile(const ShardFile&) = delete;
  ShardFile& operator=(const ShardFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const ShardInfo& info() const { return info_; }
  std::size_t chunks() const { return entries_.size(); }

  /// A chunk's content, or nothing if the shard has none of this id. Throws Error kBadInput if it is damaged.
  std::optional<std::vector<std::byte>> read(std::uint64_t id) const;

 private:
  struct Entry {
    std::uint64_t offset, size, checksum;
  };
  void read_at(std::uint64_t offset, std::span<std::byte> out) const;
  [[noreturn]] void fail(std::string_view what) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  ShardInfo info_;
  std::map<std::uint64_t, Entry> entries_;
};

/// Writes the chunks `ids` of `chunks`, atomically. Throws Error kOutput, also if one of them is gone.
void write_shard_file(const std::filesystem::path& path, const ShardInfo& info, const ChunkStore& chunks,
                      std::span<const std::uint64_t> ids);

}  // namespace vtissue::pipeline
