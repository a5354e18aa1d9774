#pragma once

#include <filesystem>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "viewer/run.h"

namespace vtissue::viewer {

/// The answer to a request for a path.
struct Response {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::shared_ptr<const std::string> body;
  /// The body belongs to the version that the URL's query names and never changes; else it must be asked for again.
  bool versioned = false;
};

struct ContentOptions {
  std::filesystem::path root;  ///< a run's folder, or a folder of runs
  std::filesystem::path page;  ///< folder of the page's own files (find_page())
  SlideSearch search;
  std::string software;    ///< program and version, shown in the page
  bool is_static = false;  ///< what is written for an export: the page then knows that nothing changes
};

/// Everything a page asks for, by path: the page's files, and under data/ the runs. The server answers requests with it
/// and the export writes it out; neither knows what the paths mean. docs/viewer.md lists them. Thread-safe.
class Content {
 public:
  static constexpr std::size_t kOpenRuns = 8;  ///< kept open at once

  /// Throws Error kBadInput if there is no run in options.root.
  explicit Content(ContentOptions options);
  ~Content();

  /// `path` without a leading slash or query. Paths that mean nothing give 404; what cannot be read gives 500 and its
  /// message. Never throws for a request.
  Response get(std::string_view path);

  std::vector<RunPlace> runs() const;
  /// Throws Error kBadInput if it cannot be opened; null if there is no such run.
  std::shared_ptr<Run> open(std::string_view id);
  /// The page's files, relative to its folder, sorted.
  const std::vector<std::string>& page_files() const { return page_files_; }

 private:
  Response page_file(std::string_view path) const;
  Response runs_list() const;
  Response of_run(Run& run, const std::vector<std::string_view>& rest);
  Response tile_of(SlideTiles* slide, const std::vector<std::string_view>& rest);

  ContentOptions options_;
  std::vector<std::string> page_files_;
  std::mutex mutex_;
  std::list<std::shared_ptr<Run>> open_;  ///< the latest used first
};

/// The folder with the page: beside the program in a build, or below share/ of the prefix it is installed in. Throws
/// Error kUsage that says how to get it if there is none, or OpenSeadragon is missing in it.
std::filesystem::path find_page();

}  // namespace vtissue::viewer
