#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace vtissue {

/// A file in memory, for readers that take a path.
class FuzzFile {
 public:
  explicit FuzzFile(std::span<const std::uint8_t> bytes) : descriptor_(::memfd_create("fuzz", 0)) {
    if (descriptor_ < 0) throw std::runtime_error("memfd_create");
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written <= 0) throw std::runtime_error("write");
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }
  ~FuzzFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  FuzzFile(FuzzFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FuzzFile& operator=(FuzzFile&&) = delete;
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
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
