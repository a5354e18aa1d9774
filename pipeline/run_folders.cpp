#include "pipeline/run_folders.h"

#include "core/atomic_file.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

bool RunFolders::work_is_elsewhere() const { return work != state / "work"; }

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

}  // namespace vtissue::pipeline
