#include "core/zip_archive.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "core/error.h"

// Layout of the records: PKWARE's APPNOTE, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16 and 4.5.3.
static_assert(std::endian::native == std::endian::little, "zip's little-endian fields are read as they are");

namespace vtissue {

namespace {

constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint32_t kCentralSignature = 0x02014b50;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kEnd64Signature = 0x06064b50;
constexpr std::uint32_t kLocator64Signature = 0x07064b50;
constexpr std::size_t kLocalBytes = 30;
constexpr std::size_t kCentralBytes = 46;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kEnd64Bytes = 56;
constexpr std::size_t kLocator64Bytes = 20;
constexpr std::size_t kMaxComment = 0xffff;
constexpr std::uint32_t kIn64 = 0xffffffff;  // the value is in the zip64 extra field
constexpr std::uint16_t kExtra64 = 1;

template <typename T>
T field(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

std::string_view zip_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

using CrcTables = std::array<std::array<std::uint32_t, 256>, 8>;

/// tables[k][b]: what byte b contributes k bytes later.
constexpr CrcTables make_crc_tables() {
  CrcTables tables{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t value = b;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0u);
    tables[0][b] = value;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t b = 0; b < 256; ++b) {
      tables[k][b] = (tables[k - 1][b] >> 8) ^ tables[0][tables[k - 1][b] & 0xff];
    }
  }
  return tables;
}

constexpr CrcTables kCrc = make_crc_tables();

std::string_view method_name(std::uint16_t method) {
  switch (method) {
    case 8:
      return "deflate";
    case 9:
      return "deflate64";
    case 12:
      return "bzip2";
    case 14:
      return "LZMA";
    case 93:
      return "zstd";
    default:
      return "an unknown method";
  }
}

}  // namespace

std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before) {
  std::uint32_t crc = ~before;
  while (bytes.size() >= 8) {
    const std::uint32_t low = field<std::uint32_t>(bytes, 0) ^ crc;
    const auto high = field<std::uint32_t>(bytes, 4);
    crc = kCrc[7][low & 0xff] ^ kCrc[6][(low >> 8) & 0xff] ^ kCrc[5][(low >> 16) & 0xff] ^ kCrc[4][low >> 24] ^
          kCrc[3][high & 0xff] ^ kCrc[2][(high >> 8) & 0xff] ^ kCrc[1][(high >> 16) & 0xff] ^ kCrc[0][high >> 24];
    bytes = bytes.subspan(8);
  }
  for (const std::byte b : bytes) crc = (crc >> 8) ^ kCrc[0][(crc ^ static_cast<std::uint32_t>(b)) & 0xff];
  return ~crc;
}

namespace {

[[noreturn]] void refuse_zip(const std::filesystem::path& path, std::string_view reason) {
  throw Error(ErrorCode::kModel, "{}: not a usable zip archive: {}", path.string(), reason);
}

/// Where the central directory lies and how many entries it has.
struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t count = 0;
};

/// The end record is the last thing in the file but for a comment, whose length must fit.
std::optional<std::size_t> find_end(std::span<const std::byte> archive) {
  if (archive.size() < kEndBytes) return std::nullopt;
  const std::size_t last = archive.size() - kEndBytes;
  const std::size_t first = last > kMaxComment ? last - kMaxComment : 0;
  for (std::size_t at = last + 1; at-- > first;) {
    if (field<std::uint32_t>(archive, at) == kEndSignature &&
        at + kEndBytes + field<std::uint16_t>(archive, at + 20) == archive.size()) {
      return at;
    }
  }
  return std::nullopt;
}

Directory find_directory(std::span<const std::byte> archive, const std::filesystem::path& path) {
  const auto end = find_end(archive);
  if (!end)
    refuse_zip(path, "it has no end-of-central-directory record; the file is cut short, copy or download it again");
  Directory directory{.offset = field<std::uint32_t>(archive, *end + 16),
                      .bytes = field<std::uint32_t>(archive, *end + 12),
                      .count = field<std::uint16_t>(archive, *end + 10)};
  std::uint64_t disks = field<std::uint16_t>(archive, *end + 4) | field<std::uint16_t>(archive, *end + 6);
  std::size_t limit = *end;
  if (*end >= kLocator64Bytes && field<std::uint32_t>(archive, *end - kLocator64Bytes) == kLocator64Signature) {
    const std::size_t locator = *end - kLocator64Bytes;
    const auto at = field<std::uint64_t>(archive, locator + 8);
    if (locator < kEnd64Bytes || at > locator - kEnd64Bytes ||
        field<std::uint32_t>(archive, static_cast<std::size_t>(at)) != kEnd64Signature) {
      refuse_zip(path, fmt::format("its zip64 end record is not at byte {}", at));
    }
    limit = static_cast<std::size_t>(at);
    disks = field<std::uint32_t>(archive, limit + 16) | field<std::uint32_t>(archive, limit + 20);
    directory = {.offset = field<std::uint64_t>(archive, limit + 48),
                 .bytes = field<std::uint64_t>(archive, limit + 40),
                 .count = field<std::uint64_t>(archive, limit + 32)};
  }
  if (disks != 0) refuse_zip(path, "it is one part of a split archive");
  if (directory.offset > limit || directory.bytes > limit - directory.offset) {
    refuse_zip(path, fmt::format("its central directory of {} bytes at {} does not fit a file of {} bytes",
                                 directory.bytes, directory.offset, archive.size()));
  }
  return directory;
}

/// Sizes and place of an entry, from the zip64 field where the short ones say so.
struct Extents {
  std::uint64_t size, stored, offset;
};

Extents extents_of(std::span<const std::byte> header, std::span<const std::byte> extra, std::string_view name,
                   const std::filesystem::path& path) {
  Extents result{.size = field<std::uint32_t>(header, 24),
                 .stored = field<std::uint32_t>(header, 20),
                 .offset = field<std::uint32_t>(header, 42)};
  if (result.size != kIn64 && result.stored != kIn64 && result.offset != kIn64) return result;
  while (extra.size() >= 4) {
    const auto id = field<std::uint16_t>(extra, 0);
    const std::size_t length = field<std::uint16_t>(extra, 2);
    if (length > extra.size() - 4) break;
    std::span<const std::byte> values = extra.subspan(4, length);
    extra = extra.subspan(4 + length);
    if (id != kExtra64) continue;
    for (std::uint64_t* value : {&result.size, &result.stored, &result.offset}) {
      if (*value != kIn64) continue;
      if (values.size() < 8) refuse_zip(path, fmt::format("the zip64 field of entry '{}' is too short", name));
      *value = field<std::uint64_t>(values, 0);
      values = values.subspan(8);
    }
    return result;
  }
  return result;
}

}  // namespace

ZipArchive::ZipArchive(std::span<const std::byte> archive, const std::filesystem::path& path) : path_(path) {
  read_directory(archive);
}

void ZipArchive::read_directory(std::span<const std::byte> archive) {
  const Directory directory = find_directory(archive, path_);
  std::span<const std::byte> rest =
      archive.subspan(static_cast<std::size_t>(directory.offset), static_cast<std::size_t>(directory.bytes));
  const std::span<const std::byte> before = archive.first(static_cast<std::size_t>(directory.offset));
  for (std::uint64_t i = 0; i < directory.count; ++i) {
    if (rest.size() < kCentralBytes || field<std::uint32_t>(rest, 0) != kCentralSignature) {
      refuse_zip(path_, fmt::format("entry {} of {} is missing in its central directory", i + 1, directory.count));
    }
    const std::size_t name_bytes = field<std::uint16_t>(rest, 28);
    const std::size_t bytes =
        kCentralBytes + name_bytes + field<std::uint16_t>(rest, 30) + field<std::uint16_t>(rest, 32);
    if (bytes > rest.size()) refuse_zip(path_, fmt::format("entry {} goes beyond its central directory", i + 1));
    const std::string name(zip_text(rest.subspan(kCentralBytes, name_bytes)));
    if (!entries_.emplace(name, place(before, rest.first(bytes), name)).second) {
      refuse_zip(path_, fmt::format("the entry '{}' occurs twice", name));
    }
    rest = rest.subspan(bytes);
  }
}

ZipArchive::Entry ZipArchive::place(std::span<const std::byte> archive, std::span<const std::byte> header,
                                    std::string_view name) const {
  const auto flags = field<std::uint16_t>(header, 8);
  const auto method = field<std::uint16_t>(header, 10);
  if ((flags & 1) != 0) refuse_zip(path_, fmt::format("the entry '{}' is encrypted", name));
  if (method != 0) {
    refuse_zip(path_, fmt::format("the entry '{}' is compressed with {} (method {}); PyTorch stores its entries "
                                  "uncompressed: repack the file with 'zip -0' or save it again with torch.save",
                                  name, method_name(method), method));
  }
  const std::size_t extra_begin = kCentralBytes + field<std::uint16_t>(header, 28);
  const Extents extents =
      extents_of(header, header.subspan(extra_begin, field<std::uint16_t>(header, 30)), name, path_);
  if (extents.size != extents.stored) {
    refuse_zip(path_,
               fmt::format("the entry '{}' of {} bytes says that {} are stored", name, extents.size, extents.stored));
  }
  if (extents.offset > archive.size() || archive.size() - extents.offset < kLocalBytes) {
    refuse_zip(path_, fmt::format("the entry '{}' is said to begin at byte {}, beyond the last entry's place", name,
                                  extents.offset));
  }
  std::span<const std::byte> local = archive.subspan(static_cast<std::size_t>(extents.offset));
  if (field<std::uint32_t>(local, 0) != kLocalSignature) {
    refuse_zip(path_, fmt::format("there is no entry '{}' at byte {}", name, extents.offset));
  }
  const std::size_t name_bytes = field<std::uint16_t>(local, 26);
  const std::size_t begin = kLocalBytes + name_bytes + field<std::uint16_t>(local, 28);
  if (begin > local.size() || zip_text(local.subspan(kLocalBytes, name_bytes)) != name) {
    refuse_zip(path_,
               fmt::format("the entry at byte {} is not '{}' as its central directory says", extents.offset, name));
  }
  if (extents.size > local.size() - begin) {
    refuse_zip(path_, fmt::format("the entry '{}' is said to have {} bytes, where {} are left", name, extents.size,
                                  local.size() - begin));
  }
  return {.data = local.subspan(begin, static_cast<std::size_t>(extents.size)),
          .crc = field<std::uint32_t>(header, 16)};
}

const ZipArchive::Entry* ZipArchive::find(std::string_view name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

std::span<const std::byte> ZipArchive::checked(std::string_view name) const {
  const Entry* entry = find(name);
  if (entry == nullptr) refuse_zip(path_, fmt::format("it has no entry '{}'", name));
  if (const std::uint32_t crc = crc32(entry->data); crc != entry->crc) {
    refuse_zip(path_,
               fmt::format("the entry '{}' is damaged: its CRC-32 is {:08x}, not {:08x}; copy or download the file "
                           "again",
                           name, crc, entry->crc));
  }
  return entry->data;
}

}  // namespace vtissue
