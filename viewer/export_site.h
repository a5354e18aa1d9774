#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "viewer/content.h"

namespace vtissue::viewer {

struct SiteOptions {
  int threads = 1;
  std::function<bool()> stop;  ///< asked between files
};

/// Writes everything that the page can ask for as files, under the paths that it asks for: a folder that any web server
/// shows. `content` was made with is_static. The folder gets its name once it is whole, and replaces a former export;
/// another folder that is not empty is refused. Returns the number of bytes. Throws Error kUsage, kBadInput if a slide
/// or store cannot be read, kOutput, kInterrupted.
std::int64_t export_site(Content& content, const std::filesystem::path& site, const SiteOptions& options);

}  // namespace vtissue::viewer
