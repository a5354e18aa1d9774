#include "core/file_digests.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"

namespace vtissue {
namespace fs = std::filesystem;

namespace {

constexpr int kFormat = 2;
constexpr std::size_t kSha256Digits = 64;
constexpr std::size_t kCheckDigits = 16;
constexpr std::size_t kMostShared = 4096;  ///< entries of a shared file: more than a machine has models
constexpr auto kLockWait = std::chrono::milliseconds(25);
constexpr int kLockTries = 40;

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

bool is_sha256(const std::string& text) {
  return text.size() == kSha256Digits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// The right to write a file, as long as it lives. A process that holds it for long does not stop others for good.
class WriteLock {
 public:
  explicit WriteLock(const fs::path& file) {
    fd_ = ::open((file.string() + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) throw_output_error(file.string() + ".lock", "create the file", errno);
    for (int i = 0; !held_ && i < kLockTries; ++i) {
      if (i > 0) std::this_thread::sleep_for(kLockWait);
      held_ = ::flock(fd_, LOCK_EX | LOCK_NB) == 0;
    }
  }
  ~WriteLock() { ::close(fd_); }
  WriteLock(const WriteLock&) = delete;
  WriteLock& operator=(const WriteLock&) = delete;

  bool held() const { return held_; }

 private:
  int fd_ = -1;
  bool held_ = false;
};

}  // namespace

FileDigests::FileDigests(fs::path cache_file, const Options& options)
    : cache_file_(std::move(cache_file)), options_(options) {
  if (!cache_file_.empty()) entries_ = read();
}

std::string FileDigests::check_of(const std::string& path, const Entry& entry) {
  return vtissue::sha256(fmt::format("{}\n{}\n{}\n", path, entry.stamp, entry.sha256)).substr(0, kCheckDigits);
}

FileDigests::Entries FileDigests::read() const {
  Entries entries;
  std::ifstream in(cache_file_, std::ios::binary);
  if (!in) return entries;
  const nlohmann::json stored = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  const auto files = stored.is_object() ? stored.find("files") : stored.end();
  if (!stored.is_object() || files == stored.end() || !files->is_object()) {
    spdlog::info("{}: not usable, hashing files anew", cache_file_.string());
    return entries;
  }
  for (const auto& [path, value] : files->items()) {
    const bool texts = value.is_array() && value.size() == 3 &&
                       std::ranges::all_of(value, [](const nlohmann::json& item) { return item.is_string(); });
    if (!texts) continue;
    Entry entry{value[0].get<std::string>(), value[1].get<std::string>()};
    if (is_sha256(entry.sha256) && value[2] == check_of(path, entry)) entries[path] = std::move(entry);
  }
  return entries;
}

std::string FileDigests::sha256(const fs::path& path, const std::stop_token& stop) {
  const struct stat before = status_of(path);
  const bool cached = before.st_size >= options_.smallest;
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
    added_.insert(key);
  }
  return sha256;
}

void FileDigests::write(const Entries& entries) const {
  nlohmann::json files = nlohmann::json::object();
  for (const auto& [path, entry] : entries) files[path] = {entry.stamp, entry.sha256, check_of(path, entry)};
  const nlohmann::json stored = {{"format", kFormat}, {"files", files}};
  write_file_atomically(cache_file_, stored.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void FileDigests::save() {
  std::lock_guard lock(mutex_);
  if (cache_file_.empty() || added_.empty()) return;
  std::error_code failure;
  fs::create_directories(cache_file_.parent_path(), failure);
  if (failure) throw_output_error(cache_file_.parent_path(), "create the folder", failure.value());
  if (!options_.shared) {
    write(entries_);
  } else {
    const WriteLock right(cache_file_);
    if (!right.held()) return;
    Entries all = read();
    if (all.size() + added_.size() > kMostShared) all.clear();
    for (const std::string& key : added_) all[key] = entries_.at(key);
    write(all);
  }
  added_.clear();
}

fs::path user_cache_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value != nullptr ? value : "");
  };
  if (fs::path own = variable("VTISSUE_CACHE"); !own.empty()) return own;
  if (const fs::path xdg = variable("XDG_CACHE_HOME"); xdg.is_absolute()) return xdg / "vtissue";
  const fs::path home = variable("HOME");
  return home.empty() ? fs::path() : home / ".cache" / "vtissue";
}

}  // namespace vtissue
