#include "pipeline/shard_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

constexpr std::array<char, 8> kShardMagic{'V', 'T', 'S', 'H', 'A', 'R', 'D', '\n'};
constexpr std::uint32_t kShardVersion = 1;

struct ShardHead {
  std::array<char, 8> magic = kShardMagic;
  std::uint32_t version = kShardVersion;
  std::uint32_t reserved = 0;
  bool operator==(const ShardHead&) const = default;
};
static_assert(sizeof(ShardHead) == 16);

struct ShardTail {
  std::uint64_t index_size = 0;
  std::uint64_t index_checksum = 0;
  std::array<char, 8> magic = kShardMagic;
};
static_assert(sizeof(ShardTail) == 24);

std::span<const std::byte> bytes_of_text(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace

ShardFile::ShardFile(fs::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail(std::strerror(errno));
  try {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) fail("is no file");
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (size < sizeof(ShardHead) + sizeof(ShardTail)) fail("is no shard of a stage's work");
    ShardHead head;
    read_at(0, std::as_writable_bytes(std::span(&head, 1)));
    if (head.magic != kShardMagic) fail("is no shard of a stage's work");
    if (head.version != kShardVersion) {
      fail(fmt::format("has layout version {}, this program reads {}", head.version, kShardVersion));
    }
    ShardTail tail;
    read_at(size - sizeof tail, std::as_writable_bytes(std::span(&tail, 1)));
    if (tail.magic != kShardMagic || tail.index_size > size - sizeof(ShardHead) - sizeof tail) fail("is cut off");
    const std::uint64_t end = size - sizeof tail - tail.index_size;
    std::string text(tail.index_size, '\0');
    read_at(end, std::as_writable_bytes(std::span(text)));
    if (checksum64(bytes_of_text(text)) != tail.index_checksum) fail("is damaged: the index's checksum is another");
    const json index = json::parse(text);
    info_.stage = index.at("stage");
    info_.stage_format = index.at("stage_format");
    info_.fingerprint = index.at("fingerprint");
    info_.identity = index.at("identity");
    info_.inputs = index.at("inputs").get<InputDigests>();
    info_.shard = {index.at("shard").at(0).get<int>(), index.at("shard").at(1).get<int>()};
    for (const json& chunk : index.at("chunks")) {
      const Entry entry{chunk.at(1), chunk.at(2), chunk.at(3)};
      if (entry.offset < sizeof(ShardHead) || entry.offset > end || entry.size > end - entry.offset) {
        fail("is damaged: a chunk lies outside the file");
      }
      entries_[chunk.at(0)] = entry;
    }
  } catch (const json::exception& e) {
    ::close(descriptor_);
    fail(fmt::format("is damaged: {}", e.what()));
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

ShardFile::~ShardFile() { ::close(descriptor_); }

void ShardFile::fail(std::string_view what) const {
  throw Error(ErrorCode::kBadInput, "{}: {}; remove it and run that shard again", path_.string(), what);
}

void ShardFile::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(std::strerror(errno));
    if (got == 0) fail("is cut off");
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

std::optional<std::vector<std::byte>> ShardFile::read(std::uint64_t id) const {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
  std::vector<std::byte> content(found->second.size);
  read_at(found->second.offset, content);
  if (checksum64(content) != found->second.checksum) fail(fmt::format("is damaged: the checksum of chunk {}", id));
  return content;
}

void write_shard_file(const fs::path& path, const ShardInfo& info, const ChunkStore& chunks,
                      std::span<const std::uint64_t> ids) {
  const fs::path temporary = temporary_name(path);
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  const auto put = [&](std::span<const std::byte> bytes) {
    errno = 0;
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (out) return;
    const int failed = errno;
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw_output_error(path, "write", failed);
  };
  const ShardHead head;
  put(std::as_bytes(std::span(&head, 1)));
  std::uint64_t offset = sizeof head;
  json listed = json::array();
  for (const std::uint64_t id : ids) {
    const std::optional<std::vector<std::byte>> content = chunks.read(id);
    if (!content) {
      throw Error(ErrorCode::kOutput, "{}: the committed part {} is gone or damaged; run the command again",
                  chunks.folder().string(), id);
    }
    put(*content);
    listed.push_back({id, offset, content->size(), checksum64(*content)});
    offset += content->size();
  }
  const std::string index = json{
      {"stage", info.stage},
      {"stage_format", info.stage_format},
      {"fingerprint", info.fingerprint},
      {"identity", info.identity},
      {"inputs", info.inputs},
      {"shard", {info.shard.index, info.shard.count}},
      {"chunks", listed}}.dump(-1, ' ', false, json::error_handler_t::replace);
  put(bytes_of_text(index));
  const ShardTail tail{index.size(), checksum64(bytes_of_text(index))};
  put(std::as_bytes(std::span(&tail, 1)));
  out.close();
  if (!out) throw_output_error(path, "write", errno);
  publish(temporary, path);
}

}  // namespace vtissue::pipeline
