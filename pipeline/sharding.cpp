#include "pipeline/sharding.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "core/error.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

namespace {

/// Nothing if there is none, or one that cannot be used, which is a warning.
std::shared_ptr<const ShardFile> open_shard(const fs::path& path) {
  std::error_code unknown;
  if (!fs::exists(path, unknown)) return nullptr;
  try {
    return std::make_shared<const ShardFile>(path);
  } catch (const Error& error) {
    spdlog::warn("{}", error.what());
    return nullptr;
  }
}

/// How a shard differs from what is asked for.
std::string difference(const ShardInfo& found, const ShardInfo& wanted) {
  if (found.stage != wanted.stage) return fmt::format("it is of stage {}, not {}", found.stage, wanted.stage);
  std::vector<std::string> changes;
  if (found.stage_format != wanted.stage_format) {
    changes.push_back(fmt::format("format version {} → {}", found.stage_format, wanted.stage_format));
  }
  for (std::string& change : describe_changes(wanted.stage, found.identity, wanted.identity)) {
    changes.push_back(std::move(change));
  }
  for (const auto& [port, digest] : wanted.inputs) {
    const auto before = found.inputs.find(port);
    if (before == found.inputs.end() || before->second != digest) changes.push_back("another input " + port);
  }
  for (const auto& [port, digest] : found.inputs) {
    if (!wanted.inputs.contains(port)) changes.push_back("no input " + port);
  }
  if (changes.empty()) changes.emplace_back("another fingerprint");
  return fmt::format("{}", fmt::join(changes, "; "));
}

}  // namespace

ShardInfo shard_info(const NodePlan& plan, Shard shard) {
  return {std::string(plan.stage->name()),
          plan.stage->format_version(),
          plan.fingerprint,
          plan.stage->identity(),
          plan.inputs,
          shard};
}

NodeShards::NodeShards(const Node& node, const Sharding& sharding) : base_(node.outputs.begin()->second) {
  if (!sharding.folder.empty()) base_ = sharding.folder / base_.filename();
}

std::shared_ptr<const ShardFile> NodeShards::find(Shard shard, const std::string& fingerprint) const {
  std::shared_ptr<const ShardFile> file = open_shard(path(shard));
  return file != nullptr && file->info().fingerprint == fingerprint && file->info().shard == shard ? file : nullptr;
}

std::vector<std::shared_ptr<const ShardFile>> NodeShards::matching(const std::string& fingerprint) const {
  std::vector<std::shared_ptr<const ShardFile>> files;
  for (const Shard shard : shards_beside(base_)) {
    if (auto file = find(shard, fingerprint)) files.push_back(std::move(file));
  }
  return files;
}

std::vector<Shard> NodeShards::missing(int count, const std::string& fingerprint) const {
  std::vector<Shard> shards;
  for (int index = 1; index <= count; ++index) {
    if (find({index, count}, fingerprint) == nullptr) shards.push_back({index, count});
  }
  return shards;
}

std::vector<std::shared_ptr<const ShardFile>> NodeShards::require_all(int count, const NodePlan& plan) const {
  std::vector<std::shared_ptr<const ShardFile>> files;
  std::vector<Shard> missing;
  for (int index = 1; index <= count; ++index) {
    const Shard shard{index, count};
    std::error_code unknown;
    if (!fs::exists(path(shard), unknown)) {
      missing.push_back(shard);
      continue;
    }
    auto file = std::make_shared<const ShardFile>(path(shard));
    if (file->info().shard != shard) {
      throw Error(ErrorCode::kBadInput, "{}: is shard {}, not {}; give it its own name again", path(shard).string(),
                  to_string(file->info().shard), to_string(shard));
    }
    if (file->info().fingerprint != plan.fingerprint) {
      throw Error(ErrorCode::kBadInput, "{}: not a shard of this work: {}; run that shard again with these arguments",
                  path(shard).string(), difference(file->info(), shard_info(plan, shard)));
    }
    files.push_back(std::move(file));
  }
  if (!missing.empty()) {
    const std::vector<Shard> there = shards_beside(base_);
    const bool other_number = there.size() > files.size();
    throw Error(ErrorCode::kBadInput, "{}: {} {} of {} {} missing, expected as {}{}; run {} with --shard first",
                base_.string(), missing.size() == 1 ? "shard" : "shards", list_shards(missing), plan.name,
                missing.size() == 1 ? "is" : "are", path(missing.front()).filename().string(),
                other_number ? fmt::format("; of other numbers there are {}", list_shards(there)) : "",
                missing.size() == 1 ? "it" : "them");
  }
  return files;
}

void NodeShards::remove(const std::string& fingerprint) const {
  for (const auto& file : matching(fingerprint)) {
    std::error_code failure;
    fs::remove(file->path(), failure);
    if (failure) spdlog::warn("{}: cannot be removed: {}", file->path().string(), failure.message());
  }
}

}  // namespace vtissue::pipeline
