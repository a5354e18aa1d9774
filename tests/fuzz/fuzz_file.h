#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace vtissue {

/// A file in memory, for readers that take a path. HDF5 asks for a file's real path, so that it has to have one.
class FuzzFile {
 public:
  explicit FuzzFile(std::span<const std::uint8_t> bytes) {
    const bool in_memory = std::filesystem::is_directory("/dev/shm");
    path_ = ((in_memory ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path()) /
             "vtissue-fuzz-XXXXXX")
                .string();
    const int descriptor = ::mkstemp(path_.data());
    if (descriptor < 0) throw std::runtime_error("mkstemp");
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
      if (written <= 0) throw std::runtime_error("write");
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    ::close(descriptor);
  }
  ~FuzzFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  FuzzFile(FuzzFile&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  FuzzFile& operator=(FuzzFile&&) = delete;
  std::filesystem::path path() const { return path_; }

 private:
  std::string path_;
};

/// Calls `read`; an Error of code kBadInput is how a reader of data refuses. Everything else that it throws ends the
/// fuzzer.
template <typename Read>
void fuzz_input(Read&& read) {
  try {
    read();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBadInput) throw;
  }
}

/// Splits the input at its first bytes: `n` parts, of which each but the last begins with its length, two bytes.
inline std::vector<std::span<const std::uint8_t>> fuzz_parts(std::span<const std::uint8_t> bytes, std::size_t n) {
  std::vector<std::span<const std::uint8_t>> parts;
  while (parts.size() + 1 < n) {
    std::size_t length = 0;
    if (bytes.size() >= 2) {
      length = static_cast<std::size_t>(bytes[0]) + 256 * static_cast<std::size_t>(bytes[1]);
      bytes = bytes.subspan(2);
    }
    length = std::min(length, bytes.size());
    parts.push_back(bytes.first(length));
    bytes = bytes.subspan(length);
  }
  parts.push_back(bytes);
  return parts;
}

}  // namespace vtissue
