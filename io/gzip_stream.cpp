#include "io/gzip_stream.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace vtissue::io {

GzipStream::GzipStream(const std::filesystem::path& path) : path_(path) {
  constexpr unsigned kBufferBytes = 1 << 18;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) throw Error(ErrorCode::kBadInput, "{}: no such file", path.string());
  if (std::filesystem::is_directory(path, error)) {
    throw Error(ErrorCode::kBadInput, "{}: is a folder, expected a file", path.string());
  }
  file_ = gzopen(path.c_str(), "rb");  // passes plain files on as they are
  if (file_ == nullptr) {
    throw Error(ErrorCode::kBadInput, "{}: cannot be opened: {}", path.string(), std::strerror(errno));
  }
  gzbuffer(file_, kBufferBytes);
}

GzipStream::~GzipStream() { gzclose_r(file_); }

std::size_t GzipStream::read(char* out, unsigned count) {
  const int got = gzread(file_, out, count);
  int code = Z_OK;
  const char* text = gzerror(file_, &code);
  // A cut stream gives what there is and then Z_BUF_ERROR.
  if (got < 0 || (got == 0 && code != Z_OK && code != Z_STREAM_END)) {
    throw Error(ErrorCode::kBadInput, "{}: damaged or cut off gzip data ({}); copy the file again", path_.string(),
                text);
  }
  return static_cast<std::size_t>(got);
}

}  // namespace vtissue::io
