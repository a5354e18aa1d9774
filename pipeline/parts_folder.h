#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/lock.h"

namespace vtissue::pipeline {

/// The folder that one run of a stage keeps its committed parts in: `<work>/<stage>-<16 digits of the
/// fingerprint>`, taken by a lock in it. Outputs may share a work folder, also at once: where another run is
/// in the folder, the next of `….2`, `….3` is taken, one that has parts first. Single thread.
class PartsFolder {
 public:
  /// Makes the folder. Throws Error kOutput.
  static PartsFolder take(const std::filesystem::path& work, std::string_view stage, std::string_view fingerprint);

  PartsFolder(PartsFolder&& other) noexcept = default;
  PartsFolder& operator=(PartsFolder&&) = delete;
  ~PartsFolder() { leave(); }

  const std::filesystem::path& path() const { return path_; }
  std::string name() const { return path_.filename().string(); }

  /// Leaves the parts for the next run and lets the folder go; one without any is removed.
  void leave();

  /// Removes the folder with its parts. What cannot be removed is a warning in the log.
  void remove();

 private:
  PartsFolder(std::filesystem::path path, FolderLock lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::filesystem::path path_;
  std::optional<FolderLock> lock_;
};

/// `<state>/<stage>.parts`: names, a line each, of the folders of parts that runs for this output have begun.
/// Only they are this output's to remove; a work folder may hold the parts of others. Single thread.
class PartsLedger {
 public:
  PartsLedger(const std::filesystem::path& state, std::string_view stage);

  /// Throws Error kOutput.
  void add(const std::string& name);

  /// Removes the folders named, apart from those that another run is in, which stay named. What cannot be
  /// removed is a warning in the log.
  void remove_folders(const std::filesystem::path& work);

  /// Forgets the folders that are gone.
  void forget_removed(const std::filesystem::path& work);

 private:
  void write() const;
  std::filesystem::path file_;
  std::vector<std::string> names_;
};

}  // namespace vtissue::pipeline
