#pragma once

#include <filesystem>

namespace vtissue::pipeline {

/// One run at a time for an output folder and for a work folder. The lock is the kernel's (open file
/// description lock), so it ends with its holder however that dies; the file's text only says who has
/// it. A file left by a killed run is taken over, with a line in the log.
///
/// A file system without locks (some network mounts) gives a warning and no protection.
class FolderLock {
 public:
  /// Locks `lock_file`, creating it and its folder. Throws Error kOutput: `folder` is in use by another
  /// run (the output cannot be written now; a retry may succeed), or cannot be written to.
  FolderLock(const std::filesystem::path& folder, const std::filesystem::path& lock_file);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace vtissue::pipeline
