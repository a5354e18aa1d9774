#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/run_context.h"

namespace vtissue::pipeline {

/// "2/3" or, as workflow engines name their items, "2-of-3". Throws Error kUsage.
Shard parse_shard(std::string_view text);

/// "2/3"
std::string to_string(Shard shard);

/// "1/3, 3/3", for messages.
std::string list_shards(const std::vector<Shard>& shards);

/// Where a shard of an output lies: features.h5 → features.h5.shard-2-of-3, in the same folder.
std::filesystem::path shard_path(const std::filesystem::path& output, Shard shard);

/// The shards of an output that lie beside it, by name alone; sorted.
std::vector<Shard> shards_beside(const std::filesystem::path& output);

/// The part of [0, count) that a shard computes: equal shares, in order; empty where there are fewer than shards.
ChunkIds share_of(std::uint64_t count, Shard shard);

}  // namespace vtissue::pipeline
