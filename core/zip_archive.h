#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace vtissue {

/// CRC-32 as zip files store it (polynomial 0xEDB88320, reflected, inverted), going on from that of the bytes before.
std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0);

/// The entries of a zip archive in memory, as PyTorch writes them: stored, not compressed; zip64 for large ones.
/// Everything is taken from the central directory and checked against the archive's size; nothing is copied.
/// Immutable; the bytes must outlive it. Errors name `path`, the file the bytes came from.
class ZipArchive {
 public:
  struct Entry {
    std::span<const std::byte> data;
    std::uint32_t crc = 0;  ///< of the data as the archive says; see checked()
  };

  /// Throws Error kModel for an archive that is cut, damaged, encrypted, split, or has compressed entries, an entry
  /// beyond the end, or two of one name.
  ZipArchive(std::span<const std::byte> archive, const std::filesystem::path& path);

  const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }
  const Entry* find(std::string_view name) const;

  /// The entry's data after a comparison of its CRC-32. Throws Error kModel if there is no such entry or it is damaged.
  std::span<const std::byte> checked(std::string_view name) const;

 private:
  void read_directory(std::span<const std::byte> archive);
  Entry place(std::span<const std::byte> archive, std::span<const std::byte> header, std::string_view name) const;

  std::filesystem::path path_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace vtissue
