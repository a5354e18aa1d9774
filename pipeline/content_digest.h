#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "core/file_digests.h"

namespace vtissue::pipeline {

/// What an input or output contains.
struct ContentDigest {
  std::string sha256;          ///< of the file (or file set); of a folder: of its index.json, else of all its files
  std::uint64_t size = 0;      ///< bytes of the file, or of all files of the folder
  std::string listing_sha256;  ///< of a folder: of its files' names and sizes, which shows a lost or cut file
  bool operator==(const ContentDigest&) const = default;
};

/// Digests of files and folders. Large files are not read again as long as they stay what they were
/// (core/file_digests.h). Thread-safe.
///
/// A slide of several files (core/companion_files.h) counts as the set of them: names, apart from the folder, and
/// contents.
///
/// A folder with an `index.json` is as good as that file, which has to list the checksums of the
/// others. A folder without one (a user's own) is hashed file by file.
class DigestCache {
 public:
  /// Without a file nothing is kept between runs.
  explicit DigestCache(std::filesystem::path cache_file = {});

  /// Throws Error kBadInput if `path` is missing or cannot be read, kInterrupted once a stop has been asked for.
  ContentDigest digest(const std::filesystem::path& path, const std::stop_token& stop = {});

  /// Of some files of a folder, relative to it. Throws as digest().
  ContentDigest digest_files(const std::filesystem::path& folder, std::vector<std::filesystem::path> files,
                             const std::stop_token& stop = {});

  /// Writes the cache file if something was added. Throws Error kOutput.
  void save();

 private:
  ContentDigest file_set_digest(const std::filesystem::path& file, const std::vector<std::filesystem::path>& companions,
                                const std::stop_token& stop);
  ContentDigest folder_digest(const std::filesystem::path& folder, const std::stop_token& stop);

  FileDigests files_;
};

}  // namespace vtissue::pipeline
