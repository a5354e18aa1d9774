#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/chunk_store.h"
#include "pipeline/content_digest.h"
#include "pipeline/progress.h"

namespace vtissue::pipeline {

/// Shares of the machine. They never change a result.
struct Resources {
  int threads = 1;    ///< cores in all: --threads
  int in_flight = 4;  ///< items between reader, network and writer: --in-flight
};

/// One of `count` shares of a stage's work, from 1 (pipeline/shard.h). How work is divided never changes a result.
struct Shard {
  int index = 1;
  int count = 1;
  bool operator==(const Shard&) const = default;
};

/// The chunks [first, first + count). A number alone counts from 0.
struct ChunkIds {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  ChunkIds(std::uint64_t n) : count(n) {}  // NOLINT(google-explicit-constructor)
  ChunkIds(std::uint64_t first_id, std::uint64_t n) : first(first_id), count(n) {}
};

/// What a running stage may use of its surroundings. Thread-safe.
class RunContext {
 public:
  /// `inputs`: digests of the stage's inputs by port, as far as they are known. `shard`: only this share is computed.
  RunContext(std::string stage, ChunkStore chunks, Resources resources, Progress& progress, std::stop_token stop,
             std::map<std::string, std::string, std::less<>> inputs = {}, std::optional<Shard> shard = std::nullopt);

  ChunkStore& chunks() { return chunks_; }
  const Resources& resources() const { return resources_; }

  /// SHA-256 of the input bound to `port` (ContentDigest::sha256), which lies at `path`: what the fingerprint was made
  /// from; the file is read only where the engine was not there to do so. Throws Error kBadInput.
  std::string input_sha256(std::string_view port, const std::filesystem::path& path) const;

  /// The share that this run computes. Where there is one, run() ends once the share's chunks are committed: it gets no
  /// outputs, and another run lays out all shares' chunks.
  const std::optional<Shard>& shard() const { return shard_; }
  /// Of [0, count) what this run computes: all of it, or the shard's share, which is noted as by add_to_shard().
  ChunkIds share(std::uint64_t count);
  /// Chunk `id` is of this shard's result.
  void add_to_shard(std::uint64_t id);
  std::vector<std::uint64_t> shard_chunks() const;

  /// Totals for the progress display; call once, before the first advance().
  void set_total(std::int64_t units, std::string_view unit);
  /// `units` more are done.
  void advance(std::int64_t units = 1);

  bool stop_requested() const { return stop_.stop_requested(); }
  /// Throws Error kInterrupted once a stop has been asked for. Call between chunks.
  void throw_if_stopped() const;

  /// Something the user should know; logged, and kept in run.json and the report.
  void warn(std::string message);
  /// A figure or table for run.json and the report: "tiles": 192. Must be deterministic.
  void report(std::string_view key, nlohmann::json value);

  std::vector<std::string> warnings() const;
  nlohmann::json reported() const;

 private:
  std::string stage_;
  ChunkStore chunks_;
  Resources resources_;
  Progress& progress_;
  std::stop_token stop_;
  std::map<std::string, std::string, std::less<>> inputs_;
  std::optional<Shard> shard_;
  mutable std::mutex mutex_;
  std::vector<std::uint64_t> shard_chunks_;
  std::int64_t done_ = 0;
  std::vector<std::string> warnings_;
  nlohmann::json reported_ = nlohmann::json::object();
};

/// The shape that every chunked stage has: chunks in order of id, of which those already
/// committed are skipped. For each other one read(id) (in parallel), compute(id, item) (serial, in
/// order: the device), and encode(id, item) → bytes (in parallel), which are committed. At most
/// resources().in_flight items are alive. Stops between chunks; rethrows the first Error with the
/// chunk's id as context after those in flight have been committed.
template <typename Item>
void for_each_chunk(
    RunContext& ctx, ChunkIds ids, const std::function<Item(std::uint64_t)>& read,
    const std::function<void(std::uint64_t, Item&)>& compute,
    const std::function<std::vector<std::byte>(std::uint64_t, Item&)>& encode,
    const std::function<std::int64_t(std::uint64_t)>& units = [](std::uint64_t) { return 1; });

}  // namespace vtissue::pipeline

#include "pipeline/for_each_chunk.inl.h"
