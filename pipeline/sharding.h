#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/graph.h"
#include "pipeline/plan.h"
#include "pipeline/shard.h"
#include "pipeline/shard_file.h"

namespace vtissue::pipeline {

/// How a run takes part in work that is divided into shards. Without any of it, a run lays out what shards there are of
/// its work and computes the rest.
struct Sharding {
  std::optional<Shard> own;  ///< compute this share of each stage's work alone
  bool go_on = false;        ///< own: where all shards are there, lay out their chunks and go on
  bool wait = false;         ///< go_on: wait for the shards that are not there yet
  int join = 0;              ///< lay out the chunks of so many shards, which must all be there; 0: of those there are
  std::filesystem::path
      folder;  ///< of the shards' files, which are removed once laid out; empty: beside the output, kept
};

/// The shards of one node's work, as files. Reads the disk at every call.
class NodeShards {
 public:
  NodeShards(const Node& node, const Sharding& sharding);

  /// Where a shard's file is or will be.
  std::filesystem::path path(Shard shard) const { return shard_path(base_, shard); }

  /// The shard if it is there and of this fingerprint.
  std::shared_ptr<const ShardFile> find(Shard shard, const std::string& fingerprint) const;

  /// All that are there and of this fingerprint, whatever their number.
  std::vector<std::shared_ptr<const ShardFile>> matching(const std::string& fingerprint) const;

  /// Those of `count` that are not.
  std::vector<Shard> missing(int count, const std::string& fingerprint) const;

  /// All of `count`. Throws Error kBadInput that names those that are missing, or says how one was made otherwise.
  std::vector<std::shared_ptr<const ShardFile>> require_all(int count, const NodePlan& plan) const;

  /// Removes the files of this fingerprint. What cannot be removed is a warning in the log.
  void remove(const std::string& fingerprint) const;

 private:
  std::filesystem::path base_;
};

/// What the file of a shard of this node says.
ShardInfo shard_info(const NodePlan& plan, Shard shard);

}  // namespace vtissue::pipeline
