#include "pipeline/content_digest.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/atomic_file.h"
#include "core/companion_files.h"
#include "core/error.h"
#include "core/hash.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

namespace {

/// Smaller files are read faster than looked up.
constexpr std::int64_t kCachedFromBytes = 256 * 1024;

std::int64_t nanoseconds(const timespec& time) { return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

struct stat status_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw Error(ErrorCode::kBadInput, "{}: cannot be read: {}; check the path and its permissions", path.string(),
                std::strerror(errno));
  }
  return status;
}

/// The change time is in it because tools that copy or extract set the modification time back.
std::string stamp_of(const struct stat& status) {
  return fmt::format("{}-{}-{}-{}", status.st_size, nanoseconds(status.st_mtim), nanoseconds(status.st_ctim),
                     status.st_ino);
}

/// Times of files are coarse: a write right after the digest could leave the stamp as it is. Once the
/// last change is two seconds old a later one must show.
bool settled(const struct stat& status) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return nanoseconds(now) - nanoseconds(status.st_ctim) > 2'000'000'000;
}

/// Size and listing; sorts the files.
ContentDigest listing_of(const fs::path& folder, std::vector<fs::path>& files) {
  std::sort(files.begin(), files.end());
  ContentDigest digest;
  Sha256 listing;
  for (const fs::path& name : files) {
    const auto size = static_cast<std::uint64_t>(status_of(folder / name).st_size);
    listing.update(fmt::format("{}\t{}\n", name.string(), size));
    digest.size += size;
  }
  digest.listing_sha256 = listing.finish();
  return digest;
}

}  // namespace

DigestCache::DigestCache(fs::path cache_file) : cache_file_(std::move(cache_file)) {
  if (cache_file_.empty()) return;
  std::ifstream in(cache_file_, std::ios::binary);
  if (!in) return;
  const nlohmann::json stored = nlohmann::json::parse(in, nullptr, false);
  const auto files = stored.is_object() ? stored.find("files") : stored.end();
  if (!stored.is_object() || files == stored.end() || !files->is_object()) {
    spdlog::info("{}: not usable, hashing the inputs anew", cache_file_.string());
    return;
  }
  for (const auto& [path, entry] : files->items()) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_string()) continue;
    entries_[path] = {entry[0].get<std::string>(), entry[1].get<std::string>()};
  }
}

ContentDigest DigestCache::digest(const fs::path& path, const std::stop_token& stop) {
  const struct stat status = status_of(path);
  if (S_ISDIR(status.st_mode)) return folder_digest(path, stop);
  if (const auto companions = companion_files(path); !companions.empty())
    return file_set_digest(path, companions, stop);
  return {file_digest(path, stop), static_cast<std::uint64_t>(status.st_size), {}};
}

/// The named file counts without its name, the others by theirs relative to it: a copy elsewhere is the same slide.
ContentDigest DigestCache::file_set_digest(const fs::path& file, const std::vector<fs::path>& companions,
                                           const std::stop_token& stop) {
  ContentDigest digest;
  Sha256 contents;
  contents.update(fmt::format("{}\n", file_digest(file, stop)));
  digest.size = static_cast<std::uint64_t>(status_of(file).st_size);
  for (const fs::path& companion : companions) {
    const std::string name = companion.lexically_relative(file.parent_path()).string();
    contents.update(fmt::format("{}\t{}\n", name, file_digest(companion, stop)));
    digest.size += static_cast<std::uint64_t>(status_of(companion).st_size);
  }
  digest.sha256 = contents.finish();
  return digest;
}

std::string DigestCache::file_digest(const fs::path& path, const std::stop_token& stop) {
  const struct stat before = status_of(path);
  const bool cached = before.st_size >= kCachedFromBytes;
  const std::string key = fs::absolute(path).lexically_normal().string();
  if (cached) {
    std::lock_guard lock(mutex_);
    const auto known = entries_.find(key);
    if (known != entries_.end() && known->second.stamp == stamp_of(before)) return known->second.sha256;
  }
  std::string sha256 = sha256_file_unless_stopped(path, stop);
  const struct stat after = status_of(path);
  if (stamp_of(after) != stamp_of(before)) {
    throw Error(ErrorCode::kBadInput, "{}: changed while it was read; run again once it is complete", path.string());
  }
  if (cached && settled(after)) {
    std::lock_guard lock(mutex_);
    entries_[key] = {stamp_of(after), sha256};
    changed_ = true;
  }
  return sha256;
}

ContentDigest DigestCache::folder_digest(const fs::path& folder, const std::stop_token& stop) {
  std::vector<fs::path> files;
  try {
    for (const auto& entry :
         fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink)) {
      if (entry.is_regular_file()) files.push_back(entry.path().lexically_relative(folder));
    }
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorCode::kBadInput, "{}: cannot be read: {}", folder.string(), error.code().message());
  }
  if (std::find(files.begin(), files.end(), "index.json") == files.end()) return digest_files(folder, files, stop);
  ContentDigest digest = listing_of(folder, files);
  digest.sha256 = file_digest(folder / "index.json", stop);
  return digest;
}

ContentDigest DigestCache::digest_files(const fs::path& folder, std::vector<fs::path> files,
                                        const std::stop_token& stop) {
  ContentDigest digest = listing_of(folder, files);
  Sha256 contents;
  for (const fs::path& name : files) {
    contents.update(fmt::format("{}\t{}\n", name.string(), file_digest(folder / name, stop)));
  }
  digest.sha256 = contents.finish();
  return digest;
}

void DigestCache::save() {
  std::lock_guard lock(mutex_);
  if (cache_file_.empty() || !changed_) return;
  nlohmann::json files = nlohmann::json::object();
  for (const auto& [path, entry] : entries_) files[path] = {entry.stamp, entry.sha256};
  const nlohmann::json stored = {{"format", 1}, {"files", files}};
  std::error_code failure;
  fs::create_directories(cache_file_.parent_path(), failure);
  if (failure) throw_output_error(cache_file_.parent_path(), "create the folder", failure.value());
  write_file_atomically(cache_file_, stored.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  changed_ = false;
}

}  // namespace vtissue::pipeline
