#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/hash.h"

namespace vtissue::io {

/// Fields of one TIFF directory. A second value for a tag replaces the first.
class TiffDirectory {
 public:
  enum class Type : std::uint16_t {
    kByte = 1,
    kAscii = 2,
    kShort = 3,
    kLong = 4,
    kRational = 5,
    kUndefined = 7,
    kLong8 = 16,
    kIfd8 = 18
  };

  struct Field {
    Type type;
    std::uint64_t count;
    std::vector<std::byte> value;  ///< little-endian
  };

  void set_short(std::uint16_t tag, std::span<const std::uint16_t> values);
  void set_short(std::uint16_t tag, std::uint16_t value) { set_short(tag, std::span(&value, 1)); }
  void set_long(std::uint16_t tag, std::uint32_t value);
  void set_long8(std::uint16_t tag, std::span<const std::uint64_t> values);
  /// Where directories outside the chain are.
  void set_ifd8(std::uint16_t tag, std::span<const std::uint64_t> offsets);
  /// Pairs of numerator and denominator.
  void set_rational(std::uint16_t tag, std::span<const std::uint32_t> values);
  void set_ascii(std::uint16_t tag, std::string_view text);
  void set_bytes(std::uint16_t tag, Type type, std::span<const std::byte> bytes);

  /// Sorted by tag, as TIFF demands.
  const std::map<std::uint16_t, Field>& fields() const { return fields_; }

 private:
  std::map<std::uint16_t, Field> fields_;
};

/// A BigTIFF file laid out front to back: the header, data in the order of append(), the directories
/// at the end. So tiles of several levels can be written in one pass over their sources, which
/// libtiff's one open directory does not allow. Not thread-safe. All failures are Error kOutput with
/// the system's reason.
class BigTiffWriter {
 public:
  struct Extent {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
  };

  /// Creates or empties the file.
  explicit BigTiffWriter(std::filesystem::path path);
  /// Removes the file unless finish() came to its end.
  ~BigTiffWriter();
  BigTiffWriter(const BigTiffWriter&) = delete;
  BigTiffWriter& operator=(const BigTiffWriter&) = delete;

  /// Appends data at an even offset.
  Extent append(std::span<const std::byte> data);

  /// Appends a directory outside the chain (a SubIFD), and says where it is.
  std::uint64_t append_directory(const TiffDirectory& directory) { return write_directory(directory, 0); }

  /// Writes the chain of directories, closes the file and reads it again: what is there is what was written.
  void finish(std::span<const TiffDirectory> directories);

 private:
  void verify() const;
  std::uint64_t write_directory(const TiffDirectory& directory, std::uint64_t next);
  void put(std::span<const std::byte> data);
  void flush();

  std::filesystem::path path_;
  int file_ = -1;
  bool is_regular_ = false;  // a device is not removed
  bool finished_ = false;
  std::uint64_t offset_ = 0;
  std::uint64_t first_directory_ = 0;
  Checksum64 written_;  // of everything but the header
  std::vector<std::byte> buffer_;
};

}  // namespace vtissue::io
