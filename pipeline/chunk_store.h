#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace vtissue::pipeline {

class ShardFile;

/// The committed parts of one stage under one fingerprint. A part is there whole or not at all; a torn
/// or damaged part (size or checksum) reads as absent and is computed again. Thread-safe for
/// different ids. Copies share what is known about the parts. Parts that other runs have computed may be read through
/// it, too (attach()).
///
/// A part is the file `<folder>/NNNNNNNN.part` (the id in decimal): a header of 40 bytes, little-endian,
/// then the content.
///
///     0   8 bytes  "VTPART\r\n"
///     8   u32      layout version, 1
///     12  u32      0
///     16  u64      id
///     24  u64      size of the content in bytes
///     32  u64      XXH3-64 of the content
class ChunkStore {
 public:
  /// `folder` is created on the first commit.
  explicit ChunkStore(std::filesystem::path folder);

  /// Parts that the store does not hold itself are taken from `shard`. Call before the store is shared.
  void attach(std::shared_ptr<const ShardFile> shard);

  /// Checks size and checksum on the first question for an id.
  bool has(std::uint64_t id) const;

  /// Throws Error kOutput. A second commit of an id replaces the first.
  void commit(std::uint64_t id, std::span<const std::byte> content);

  /// The content as committed, or nothing if absent or damaged.
  std::optional<std::vector<std::byte>> read(std::uint64_t id) const;

  /// Removes the parts [first, last) that are there; they count as absent then. For a stage that goes over its work in
  /// several passes. Throws Error kOutput.
  void remove(std::uint64_t first, std::uint64_t last);

  /// Removes all parts; called by the engine once the outputs are published. Throws Error kOutput.
  void clear();

  const std::filesystem::path& folder() const { return folder_; }

 private:
  struct Verified;
  std::filesystem::path path_of(std::uint64_t id) const;
  std::optional<std::vector<std::byte>> read_own(std::uint64_t id) const;
  std::filesystem::path folder_;
  std::shared_ptr<Verified> verified_;
  std::vector<std::shared_ptr<const ShardFile>> shards_;
};

}  // namespace vtissue::pipeline
