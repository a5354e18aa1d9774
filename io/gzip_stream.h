#pragma once

#include <cstddef>
#include <filesystem>

struct gzFile_s;

namespace vtissue::io {

/// A file that is read from front to back, plain or gzip by its content (not its name). One thread at a time.
class GzipStream {
 public:
  /// Throws Error kBadInput if there is no such file or it cannot be opened.
  explicit GzipStream(const std::filesystem::path& path);
  ~GzipStream();
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  /// Bytes read; 0 at the end. Throws Error kBadInput: damaged or cut gzip.
  std::size_t read(char* out, unsigned count);

 private:
  std::filesystem::path path_;
  gzFile_s* file_ = nullptr;
};

}  // namespace vtissue::io
