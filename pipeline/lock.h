#pragma once

#include <filesystem>
#include <optional>
#include <stop_token>

namespace vtissue::pipeline {

/// One run at a time for what a lock file stands for: an output folder, or a folder of parts. The lock is the
/// kernel's (open file description lock), so it ends with its holder however that dies; the file's text only
/// says who has it. A file left by a killed run is taken over, with a line in the log.
///
/// A file system without locks (some network mounts) gives a warning and no protection.
class FolderLock {
 public:
  /// Locks `lock_file`, creating it and its folder. Throws Error kOutput: `folder` is in use by another
  /// run (the output cannot be written now; a retry may succeed), or cannot be written to.
  FolderLock(const std::filesystem::path& folder, const std::filesystem::path& lock_file);
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&&) = delete;

  /// Locks `lock_file`, creating it and its folder, unless another run has it: then nothing. Says nothing in
  /// the log. Throws Error kOutput if it cannot be written.
  static std::optional<FolderLock> try_lock(const std::filesystem::path& lock_file);

  /// As the constructor, but others may hold the file in this way at the same time: shards of one run, of which each
  /// has a lock of its own beside it. Writes nothing into the file.
  static FolderLock shared(const std::filesystem::path& folder, const std::filesystem::path& lock_file);

  /// Locks `lock_file` as soon as no other run has it. Throws Error kInterrupted, kOutput.
  static FolderLock wait_for(const std::filesystem::path& lock_file, const std::stop_token& stop);

  /// Removes the file while it is held. Whoever waits to lock it will find that its name is gone.
  void remove_file();

 private:
  explicit FolderLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
  bool shared_ = false;
  std::filesystem::path file_;
};

}  // namespace vtissue::pipeline
