#include "pipeline/shard.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/error.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

namespace {

constexpr int kMostShards = 100'000;
constexpr std::string_view kMark = ".shard-";

std::optional<int> whole_number(std::string_view text) {
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Shard> split_shard(std::string_view text, std::string_view between) {
  const std::size_t at = text.find(between);
  if (at == std::string_view::npos) return std::nullopt;
  const auto index = whole_number(text.substr(0, at)), count = whole_number(text.substr(at + between.size()));
  if (!index || !count || *index < 1 || *index > *count || *count > kMostShards) return std::nullopt;
  return Shard{*index, *count};
}

}  // namespace

Shard parse_shard(std::string_view text) {
  auto shard = split_shard(text, "/");
  if (!shard) shard = split_shard(text, "-of-");
  if (!shard) {
    throw Error(ErrorCode::kUsage,
                "shard '{}': expected the first number of two, counted from 1, such as 2/3 or 2-of-3", text);
  }
  return *shard;
}

std::string to_string(Shard shard) { return fmt::format("{}/{}", shard.index, shard.count); }

std::string list_shards(const std::vector<Shard>& shards) {
  constexpr std::size_t kMostNamed = 20;
  std::string text;
  for (std::size_t i = 0; i < std::min(shards.size(), kMostNamed); ++i) {
    text += (i == 0 ? "" : ", ") + to_string(shards[i]);
  }
  if (shards.size() > kMostNamed) text += fmt::format(" and {} more", shards.size() - kMostNamed);
  return text;
}

fs::path shard_path(const fs::path& output, Shard shard) {
  fs::path path = output;
  path += fmt::format("{}{}-of-{}", kMark, shard.index, shard.count);
  return path;
}

std::vector<Shard> shards_beside(const fs::path& output) {
  const std::string start = output.filename().string() + std::string(kMark);
  std::vector<Shard> shards;
  std::error_code failure;
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(start)) continue;
    if (const auto shard = split_shard(std::string_view(name).substr(start.size()), "-of-")) shards.push_back(*shard);
  }
  std::ranges::sort(shards, {}, [](Shard shard) { return std::pair(shard.count, shard.index); });
  return shards;
}

ChunkIds share_of(std::uint64_t count, Shard shard) {
  const auto n = static_cast<std::uint64_t>(shard.count), i = static_cast<std::uint64_t>(shard.index);
  const std::uint64_t first = count * (i - 1) / n;
  return {first, count * i / n - first};
}

}  // namespace vtissue::pipeline
