#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace vtissue {

/// A weights file mapped into memory, read-only; the map lives as long as the object. Thread-safe.
class MappedFile {
 public:
  /// An empty file gives no bytes. Throws Error kModel if `path` is not a regular file that can be read.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> bytes_;
};

}  // namespace vtissue
