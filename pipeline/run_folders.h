#pragma once

#include <filesystem>
#include <optional>
#include <vector>

namespace vtissue::pipeline {

/// Where a run keeps what is not a result.
struct RunFolders {
  std::filesystem::path output;  ///< named in messages
  std::filesystem::path state;   ///< records of the stages, digests of large files, lock
  std::filesystem::path work;    ///< committed parts (parts_folder.h); several outputs may share it

  /// Digests of large files (DigestCache): the state's, since runs that share a work folder write at once.
  std::filesystem::path digests() const { return state / "digests.json"; }
};

/// `vtissue run`: `<out>/.vtissue`, with the parts in `work` below it unless given.
RunFolders folders_for_run(const std::filesystem::path& out, const std::optional<std::filesystem::path>& work = {});

/// A single stage: `.<name>.vtissue` beside its (first) output, so that stages of a workflow engine may
/// write into one folder at the same time.
RunFolders folders_for_output(const std::filesystem::path& output,
                              const std::optional<std::filesystem::path>& work = {});

/// Creates the folder with its parents. Throws Error kOutput naming folder and remedy.
void make_folder(const std::filesystem::path& folder);

/// Whether the folder can be made, or is there and can be written to, without trying. Throws as make_folder().
void require_writable(const std::filesystem::path& folder);

/// Folders that a run makes, so that one that is refused takes them away again.
class NewFolders {
 public:
  /// Notes the folder and those of its parents that are not there yet.
  void note(std::filesystem::path folder);
  /// Removes what was noted and is empty.
  void remove_empty();

 private:
  std::vector<std::filesystem::path> folders_;
};

}  // namespace vtissue::pipeline
