#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>

namespace vtissue {

/// SHA-256 of files, remembered from run to run. A large file is not read again as long as its path, size, modification
/// and change time (in ns) and inode stay what they were. The cache is a JSON file that may be damaged, old or removed
/// at any time: every entry has a checksum, and what is not believed is computed. Thread-safe.
class FileDigests {
 public:
  struct Options {
    std::int64_t smallest = 256 * 1024;  ///< bytes; smaller files are read faster than looked up
    bool shared = false;                 ///< other processes may save to the same file at the same time
  };

  /// Without a file nothing is kept between runs. What cannot be read of it is passed over.
  explicit FileDigests(std::filesystem::path cache_file = {}) : FileDigests(std::move(cache_file), Options()) {}
  FileDigests(std::filesystem::path cache_file, const Options& options);

  /// 64 lower-case hexadecimal digits. Throws Error kBadInput if the file is missing, cannot be read or changes
  /// meanwhile, kInterrupted once a stop has been asked for.
  std::string sha256(const std::filesystem::path& path, const std::stop_token& stop = {});

  /// Writes the cache file, atomically, if something was added. A shared one keeps what other processes have added; if
  /// they keep it locked, nothing is written. Throws Error kOutput.
  void save();

 private:
  struct Entry {
    std::string stamp;  ///< size, modification and change time in ns, inode
    std::string sha256;
  };
  using Entries = std::map<std::string, Entry>;

  static std::string check_of(const std::string& path, const Entry& entry);
  Entries read() const;
  void write(const Entries& entries) const;

  std::filesystem::path cache_file_;
  Options options_;
  std::mutex mutex_;
  Entries entries_;
  std::set<std::string> added_;  ///< keys of entries_ that the file has not
};

/// Where a user's caches are: $VTISSUE_CACHE, $XDG_CACHE_HOME/vtissue or ~/.cache/vtissue; empty if none of the
/// variables is set.
std::filesystem::path user_cache_folder();

}  // namespace vtissue
