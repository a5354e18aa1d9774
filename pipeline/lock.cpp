#include "pipeline/lock.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "pipeline/run_folders.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

namespace {

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

std::string read_text(int descriptor) {
  std::array<char, 512> text{};
  const ssize_t length = ::pread(descriptor, text.data(), text.size(), 0);
  return length > 0 ? std::string(text.data(), static_cast<std::size_t>(length)) : std::string();
}

/// "pid 123 on host h, since 2024-05-01T10:00:00Z"; the text may be half-written or foreign.
std::string holder(const std::string& text) {
  const nlohmann::json stored = nlohmann::json::parse(text, nullptr, false);
  if (!stored.is_object() || !stored.contains("pid") || !stored.contains("host")) return "of unknown origin";
  return fmt::format(
      "pid {} on host {}, since {}", stored["pid"].dump(),
      stored["host"].is_string() ? stored["host"].get<std::string>() : "?",
      stored.contains("since") && stored["since"].is_string() ? stored["since"].get<std::string>() : "?");
}

std::string own_text() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 32> since{};
  std::strftime(since.data(), since.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return nlohmann::json{{"pid", ::getpid()}, {"host", host_name()}, {"since", since.data()}}.dump() + "\n";
}

void write_text(int descriptor, const fs::path& lock_file, const std::string& text) {
  if (::ftruncate(descriptor, 0) != 0 ||
      ::pwrite(descriptor, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    throw_output_error(lock_file, "write", errno);
  }
}

struct Attempt {
  int descriptor = -1;
  int reason = 0;  ///< error number of locking; 0: locked
};

bool is_held(int reason) { return reason == EAGAIN || reason == EACCES; }

/// Whether `lock_file` still names the open file: its last holder may have removed it before it was locked.
bool is_named(int descriptor, const fs::path& lock_file) {
  struct stat opened {};
  struct stat named {};
  return ::fstat(descriptor, &opened) == 0 && ::stat(lock_file.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

/// Throws Error kOutput if the file cannot be opened.
Attempt open_and_lock(const fs::path& folder, const fs::path& lock_file, short kind = F_WRLCK) {
  constexpr int kAttempts = 100;
  for (int i = 0; i < kAttempts; ++i) {
    make_folder(lock_file.parent_path());
    Attempt attempt;
    attempt.descriptor = ::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (attempt.descriptor < 0 && errno == ENOENT) continue;  // the folder was removed in between
    if (attempt.descriptor < 0) throw_output_error(folder, "write to the folder", errno);
    struct flock whole_file {};
    whole_file.l_type = kind;
    whole_file.l_whence = SEEK_SET;
    if (::fcntl(attempt.descriptor, F_OFD_SETLK, &whole_file) != 0) {
      attempt.reason = errno;
      return attempt;
    }
    if (is_named(attempt.descriptor, lock_file)) return attempt;
    ::close(attempt.descriptor);
  }
  throw_output_error(lock_file, "lock", EAGAIN);
}

}  // namespace

FolderLock::FolderLock(const fs::path& folder, const fs::path& lock_file) : file_(lock_file) {
  const Attempt attempt = open_and_lock(folder, lock_file);
  descriptor_ = attempt.descriptor;
  try {
    if (is_held(attempt.reason)) {
      throw Error(ErrorCode::kOutput,
                  "{}: another vtissue run ({}) is using this folder; wait for it or choose another folder",
                  folder.string(), holder(read_text(descriptor_)));
    }
    if (attempt.reason != 0) {
      spdlog::warn("{}: this file system has no locks ({}); make sure that no other run uses the folder",
                   folder.string(), std::strerror(attempt.reason));
    } else if (const std::string left = read_text(descriptor_); !left.empty()) {
      spdlog::info("{}: a run ({}) ended without finishing; going on from what it kept", folder.string(), holder(left));
    }
    write_text(descriptor_, lock_file, own_text());
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

std::optional<FolderLock> FolderLock::try_lock(const fs::path& lock_file) {
  const Attempt attempt = open_and_lock(lock_file.parent_path(), lock_file);
  FolderLock lock(attempt.descriptor);
  lock.file_ = lock_file;
  if (!is_held(attempt.reason)) return lock;
  ::close(std::exchange(lock.descriptor_, -1));  // not emptied: it is another's
  return std::nullopt;
}

FolderLock FolderLock::shared(const fs::path& folder, const fs::path& lock_file) {
  const Attempt attempt = open_and_lock(folder, lock_file, F_RDLCK);
  FolderLock lock(attempt.descriptor);
  lock.file_ = lock_file;
  lock.shared_ = true;
  if (is_held(attempt.reason)) {
    throw Error(
        ErrorCode::kOutput,
        "{}: another vtissue run ({}) is using this folder, not for a shard; wait for it or choose another folder",
        folder.string(), holder(read_text(attempt.descriptor)));
  }
  if (attempt.reason != 0) {
    spdlog::warn("{}: this file system has no locks ({}); make sure that no other run than shards uses the folder",
                 folder.string(), std::strerror(attempt.reason));
  }
  return lock;
}

FolderLock FolderLock::wait_for(const fs::path& lock_file, const std::stop_token& stop) {
  constexpr std::chrono::milliseconds kBetween{50};
  while (true) {
    if (std::optional<FolderLock> lock = try_lock(lock_file)) return *std::move(lock);
    if (stop.stop_requested()) {
      throw Error(ErrorCode::kInterrupted, "stopped as asked while another run had {}; run the same command again",
                  lock_file.string());
    }
    std::this_thread::sleep_for(kBetween);
  }
}

FolderLock::FolderLock(FolderLock&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), shared_(other.shared_), file_(std::move(other.file_)) {}

void FolderLock::remove_file() {
  std::error_code failure;
  fs::remove(file_, failure);
  if (failure) spdlog::debug("{}: not removed: {}", file_.string(), failure.message());
}

FolderLock::~FolderLock() {
  if (descriptor_ < 0) return;
  if (!shared_ && ::ftruncate(descriptor_, 0) != 0) spdlog::debug("lock: not emptied: {}", std::strerror(errno));
  ::close(descriptor_);
}

}  // namespace vtissue::pipeline
