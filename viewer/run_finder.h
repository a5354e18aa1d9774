#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace vtissue::viewer {

/// A run's folder inside the folder that was opened.
struct RunPlace {
  std::string id;                ///< digits and letters, of the relative path: what URLs name it by
  std::string name;              ///< the relative path, or the folder's own name if it is the one that was opened
  std::filesystem::path folder;  ///< absolute
};

/// The folder itself if it holds a virtual slide, else the folders that do, at most three levels below it, by name.
/// Hidden folders and links that lead outside are passed over. Throws Error kBadInput if `root` is no folder.
std::vector<RunPlace> find_runs(const std::filesystem::path& root);

/// Whether `path`, links resolved, lies inside `root`, links resolved.
bool lies_inside(const std::filesystem::path& root, const std::filesystem::path& path);

}  // namespace vtissue::viewer
