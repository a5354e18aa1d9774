#include "pipeline/chunk_store.h"

#include <spdlog/spdlog.h>

#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <mutex>
#include <unordered_set>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "pipeline/shard_file.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

namespace {

static_assert(std::endian::native == std::endian::little, "the part header is written as it lies in memory");

struct PartHeader {
  std::array<char, 8> magic{'V', 'T', 'P', 'A', 'R', 'T', '\r', '\n'};
  std::uint32_t version = 1;
  std::uint32_t reserved = 0;
  std::uint64_t id = 0;
  std::uint64_t size = 0;
  std::uint64_t checksum = 0;
  bool operator==(const PartHeader&) const = default;
};
static_assert(sizeof(PartHeader) == 40);

PartHeader header_of(std::uint64_t id, std::span<const std::byte> content) {
  PartHeader header;
  header.id = id;
  header.size = content.size();
  header.checksum = checksum64(content);
  return header;
}

}  // namespace

struct ChunkStore::Verified {
  std::mutex mutex;
  std::unordered_set<std::uint64_t> ids;
};

ChunkStore::ChunkStore(fs::path folder) : folder_(std::move(folder)), verified_(std::make_shared<Verified>()) {}

bool ChunkStore::has(std::uint64_t id) const {
  {
    std::lock_guard lock(verified_->mutex);
    if (verified_->ids.contains(id)) return true;
  }
  return read(id).has_value();
}

void ChunkStore::commit(std::uint64_t id, std::span<const std::byte> content) {
  std::error_code failure;
  fs::create_directories(folder_, failure);
  if (failure) throw_output_error(folder_, "create the folder", failure.value());
  const PartHeader header = header_of(id, content);
  std::vector<std::byte> file(sizeof header + content.size());
  std::memcpy(file.data(), &header, sizeof header);
  if (!content.empty()) std::memcpy(file.data() + sizeof header, content.data(), content.size());
  write_file_atomically(path_of(id), file);
  std::lock_guard lock(verified_->mutex);
  verified_->ids.insert(id);
}

void ChunkStore::attach(std::shared_ptr<const ShardFile> shard) { shards_.push_back(std::move(shard)); }

std::optional<std::vector<std::byte>> ChunkStore::read(std::uint64_t id) const {
  if (auto own = read_own(id)) return own;
  for (const auto& shard : shards_) {
    auto content = shard->read(id);
    if (!content) continue;
    std::lock_guard lock(verified_->mutex);
    verified_->ids.insert(id);
    return content;
  }
  return std::nullopt;
}

std::optional<std::vector<std::byte>> ChunkStore::read_own(std::uint64_t id) const {
  const fs::path path = path_of(id);
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  const auto damaged = [&](std::string_view what) {
    spdlog::warn("{}: damaged part ({}), computing it again", path.string(), what);
    std::lock_guard lock(verified_->mutex);
    verified_->ids.erase(id);
    return std::nullopt;
  };
  std::error_code failure;
  const std::uintmax_t file_size = fs::file_size(path, failure);
  PartHeader header;
  if (failure || file_size < sizeof header || !in.read(reinterpret_cast<char*>(&header), sizeof header)) {
    return damaged("cut off");
  }
  // Compared before anything is allocated: a damaged size must not ask for the whole memory.
  if (header.size != file_size - sizeof header) return damaged("size");
  std::vector<std::byte> content(header.size);
  if (!in.read(reinterpret_cast<char*>(content.data()), static_cast<std::streamsize>(content.size()))) {
    return damaged("read error");
  }
  if (header != header_of(id, content)) return damaged("checksum");
  std::lock_guard lock(verified_->mutex);
  verified_->ids.insert(id);
  return content;
}

void ChunkStore::remove(std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t id = first; id < last; ++id) {
    {
      std::lock_guard lock(verified_->mutex);
      verified_->ids.erase(id);
    }
    std::error_code failure;
    fs::remove(path_of(id), failure);
    if (failure) throw_output_error(path_of(id), "remove", failure.value());
  }
}

void ChunkStore::clear() {
  {
    std::lock_guard lock(verified_->mutex);
    verified_->ids.clear();
  }
  std::error_code failure;
  fs::remove_all(folder_, failure);
  if (failure) throw_output_error(folder_, "remove the committed parts", failure.value());
}

fs::path ChunkStore::path_of(std::uint64_t id) const { return folder_ / fmt::format("{:08}.part", id); }

}  // namespace vtissue::pipeline
