#pragma once

#include <filesystem>
#include <optional>

namespace vtissue::pipeline {

/// Where a run keeps what is not a result.
struct RunFolders {
  std::filesystem::path output;  ///< named in messages
  std::filesystem::path state;   ///< records of the stages, lock
  std::filesystem::path work;    ///< committed parts: `<stage>-<16 digits of the fingerprint>/NNNNNNNN.part`

  /// True if the work folder was given and needs a lock of its own.
  bool work_is_elsewhere() const;
};

/// `vtissue run`: `<out>/.vtissue`, with the parts in `work` below it unless given.
RunFolders folders_for_run(const std::filesystem::path& out, const std::optional<std::filesystem::path>& work = {});

/// A single stage: `.<name>.vtissue` beside its (first) output, so that stages of a workflow engine may
/// write into one folder at the same time.
RunFolders folders_for_output(const std::filesystem::path& output,
                              const std::optional<std::filesystem::path>& work = {});

/// Creates the folder with its parents. Throws Error kOutput naming folder and remedy.
void make_folder(const std::filesystem::path& folder);

}  // namespace vtissue::pipeline
