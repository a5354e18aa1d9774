#include "pipeline/content_digest.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "core/companion_files.h"
#include "core/error.h"
#include "core/hash.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

namespace {

struct stat status_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw Error(ErrorCode::kBadInput, "{}: cannot be read: {}; check the path and its permissions", path.string(),
                std::strerror(errno));
  }
  return status;
}

/// Size and listing; sorts the files.
ContentDigest listing_of(const fs::path& folder, std::vector<fs::path>& files) {
  std::sort(files.begin(), files.end());
  ContentDigest digest;
  Sha256 listing;
  for (const fs::path& name : files) {
    const auto size = static_cast<std::uint64_t>(status_of(folder / name).st_size);
    listing.update(fmt::format("{}\t{}\n", name.string(), size));
    digest.size += size;
  }
  digest.listing_sha256 = listing.finish();
  return digest;
}

}  // namespace

DigestCache::DigestCache(fs::path cache_file) : files_(std::move(cache_file)) {}

ContentDigest DigestCache::digest(const fs::path& path, const std::stop_token& stop) {
  const struct stat status = status_of(path);
  if (S_ISDIR(status.st_mode)) return folder_digest(path, stop);
  if (const auto companions = companion_files(path); !companions.empty())
    return file_set_digest(path, companions, stop);
  return {files_.sha256(path, stop), static_cast<std::uint64_t>(status.st_size), {}};
}

/// The named file counts without its name, the others by theirs relative to it: a copy elsewhere is the same slide.
ContentDigest DigestCache::file_set_digest(const fs::path& file, const std::vector<fs::path>& companions,
                                           const std::stop_token& stop) {
  ContentDigest digest;
  Sha256 contents;
  contents.update(fmt::format("{}\n", files_.sha256(file, stop)));
  digest.size = static_cast<std::uint64_t>(status_of(file).st_size);
  for (const fs::path& companion : companions) {
    const std::string name = companion.lexically_relative(file.parent_path()).string();
    contents.update(fmt::format("{}\t{}\n", name, files_.sha256(companion, stop)));
    digest.size += static_cast<std::uint64_t>(status_of(companion).st_size);
  }
  digest.sha256 = contents.finish();
  return digest;
}

ContentDigest DigestCache::folder_digest(const fs::path& folder, const std::stop_token& stop) {
  std::vector<fs::path> files;
  try {
    for (const auto& entry :
         fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink)) {
      if (entry.is_regular_file()) files.push_back(entry.path().lexically_relative(folder));
    }
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorCode::kBadInput, "{}: cannot be read: {}", folder.string(), error.code().message());
  }
  if (std::find(files.begin(), files.end(), "index.json") == files.end()) return digest_files(folder, files, stop);
  ContentDigest digest = listing_of(folder, files);
  digest.sha256 = files_.sha256(folder / "index.json", stop);
  return digest;
}

ContentDigest DigestCache::digest_files(const fs::path& folder, std::vector<fs::path> files,
                                        const std::stop_token& stop) {
  ContentDigest digest = listing_of(folder, files);
  Sha256 contents;
  for (const fs::path& name : files) {
    contents.update(fmt::format("{}\t{}\n", name.string(), files_.sha256(folder / name, stop)));
  }
  digest.sha256 = contents.finish();
  return digest;
}

void DigestCache::save() { files_.save(); }

}  // namespace vtissue::pipeline
