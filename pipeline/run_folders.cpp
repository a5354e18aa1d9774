#include "pipeline/run_folders.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/atomic_file.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

RunFolders folders_for_run(const fs::path& out, const std::optional<fs::path>& work) {
  const fs::path state = out / ".vtissue";
  return {out, state, work.value_or(state / "work")};
}

RunFolders folders_for_output(const fs::path& output, const std::optional<fs::path>& work) {
  // "latents/" names the same folder as "latents".
  const fs::path named = output.has_filename() ? output : output.parent_path();
  const fs::path state = named.parent_path() / ("." + named.filename().string() + ".vtissue");
  return {named.has_parent_path() ? named.parent_path() : fs::path("."), state, work.value_or(state / "work")};
}

void make_folder(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw_output_error(folder, "create the folder", failure.value());
}

void require_writable(const fs::path& folder) {
  fs::path at = folder.empty() ? fs::path(".") : folder;
  while (true) {
    struct stat status {};
    const bool itself = at == folder;
    if (::stat(at.c_str(), &status) == 0) {
      if (!S_ISDIR(status.st_mode)) throw_output_error(folder, "create the folder", itself ? EEXIST : ENOTDIR);
      if (::faccessat(AT_FDCWD, at.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
        throw_output_error(folder, itself ? "write to the folder" : "create the folder", errno);
      }
      return;
    }
    if (errno != ENOENT || at == ".") throw_output_error(folder, "create the folder", errno);
    at = at.has_parent_path() ? at.parent_path() : fs::path(".");
  }
}

void NewFolders::note(fs::path folder) {
  std::error_code unknown;
  for (; !folder.empty() && !fs::exists(folder, unknown); folder = folder.parent_path()) folders_.push_back(folder);
}

void NewFolders::remove_empty() {
  // A longer name is never a parent of a shorter one.
  std::sort(folders_.begin(), folders_.end(),
            [](const fs::path& a, const fs::path& b) { return a.native().size() > b.native().size(); });
  for (const fs::path& folder : folders_) ::rmdir(folder.c_str());
}

}  // namespace vtissue::pipeline
