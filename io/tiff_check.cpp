#include "io/tiff_check.h"

#include <tiffio.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "core/error.h"
#include "io/tiff_tags.h"

namespace vtissue::io {
namespace {

constexpr std::uint16_t kStripOffsets = kTagStripOffsets, kStripByteCounts = kTagStripByteCounts;
constexpr std::uint16_t kTileOffsets = kTagTileOffsets, kTileByteCounts = kTagTileByteCounts;
constexpr std::size_t kMostSubIfds = 4096;

constexpr std::uint16_t kNdpiFormatFlag = 65420;  // Hamamatsu's; in the first directory of every NDPI

/// Walks the directories of a classic TIFF, a BigTIFF or an NDPI: classic by its number, but offsets of directories
/// have 64 bits, and the upper halves of a directory's values and offsets follow behind it, a 32-bit word an entry.
/// libtiff is not used here because it repairs what this is looking for: it estimates missing byte counts and stops
/// quietly at a lost directory.
class TiffWalk {
 public:
  explicit TiffWalk(const std::filesystem::path& path)
      : path_(path), file_(path, std::ios::binary), file_bytes_(std::filesystem::file_size(path)) {}

  void run() {
    std::uint64_t directory = 0;
    if (!read_header(&directory)) return;
    std::set<std::uint64_t> seen;  // a loop of directories is for the decoder to refuse
    while (directory != 0 && seen.insert(directory).second) directory = check_directory(directory);
    // Their own SubIFDs too: what is found is appended.
    for (std::size_t i = 0; i < subifds_.size() && i < kMostSubIfds; ++i) {
      if (subifds_[i] != 0 && seen.insert(subifds_[i]).second) check_directory(subifds_[i]);
    }
  }

 private:
  struct Array {
    std::uint16_t type = 0;
    std::uint64_t count = 0;
    std::uint64_t offset = 0;
    std::uint64_t upper = 0;  ///< to be added to a single value that stands in the entry
  };

  bool read_header(std::uint64_t* first_directory) {
    std::array<unsigned char, 16> header{};
    file_.read(reinterpret_cast<char*>(header.data()), header.size());
    const std::streamsize got = file_.gcount();
    file_.clear();
    if (got < 8) return false;
    const bool little = header[0] == 'I' && header[1] == 'I';
    big_endian_ = header[0] == 'M' && header[1] == 'M';
    if (!little && !big_endian_) return false;
    const std::uint64_t version = decode(header.data() + 2, 2);
    if (version == 42) {
      const std::uint64_t long_offset = decode(header.data() + 4, 8);
      ndpi_ = got >= 12 && is_ndpi_directory(long_offset);
      *first_directory = ndpi_ ? long_offset : decode(header.data() + 4, 4);
      return true;
    }
    if (version == 43 && got == 16) {
      big_tiff_ = true;
      *first_directory = decode(header.data() + 8, 8);
      return true;
    }
    return false;
  }

  /// A classic TIFF that is no NDPI has any bytes where this looks, so nothing is refused here.
  bool is_ndpi_directory(std::uint64_t offset) {
    if (offset < 8 || offset > file_bytes_ || file_bytes_ - offset < 2) return false;
    const std::uint64_t entries = value_at(offset, 2, "a directory");
    if (entries * 12 > file_bytes_ - offset - 2) return false;
    const std::vector<unsigned char> table = bytes_at(offset + 2, entries * 12, "a directory");
    for (std::uint64_t i = 0; i < entries; ++i) {
      if (decode(table.data() + i * 12, 2) == kNdpiFormatFlag) return true;
    }
    return false;
  }

  /// Upper halves of an NDPI directory's values; zeros where what follows it cannot be that.
  std::vector<std::uint64_t> upper_halves(std::uint64_t offset, std::uint64_t entries) {
    constexpr std::uint64_t kMostUpper = 0xffff;  // 256 TiB
    std::vector<std::uint64_t> upper(entries, 0);
    if (!ndpi_ || offset > file_bytes_ || entries * 4 > file_bytes_ - offset) return upper;
    const std::vector<unsigned char> words = bytes_at(offset, entries * 4, "a directory");
    for (std::uint64_t i = 0; i < entries; ++i) {
      upper[i] = decode(words.data() + i * 4, 4);
      if (upper[i] > kMostUpper) return std::vector<std::uint64_t>(entries, 0);
    }
    return upper;
  }

  /// Returns the offset of the next directory.
  std::uint64_t check_directory(std::uint64_t offset) {
    const std::uint64_t count_bytes = big_tiff_ ? 8 : 2, entry_bytes = big_tiff_ ? 20 : 12, word = big_tiff_ ? 8 : 4;
    const std::uint64_t next_bytes = big_tiff_ || ndpi_ ? 8 : 4;
    const std::uint64_t entries = value_at(offset, count_bytes, "a directory");
    if (entries > (file_bytes_ / entry_bytes)) refuse("a directory", offset + count_bytes + entries * entry_bytes);
    const std::vector<unsigned char> table =
        bytes_at(offset + count_bytes, entries * entry_bytes + next_bytes, "a directory");
    const std::vector<std::uint64_t> upper =
        upper_halves(offset + count_bytes + entries * entry_bytes + next_bytes, entries);
    std::optional<Array> offsets, counts, subifds;
    for (std::uint64_t i = 0; i < entries; ++i) {
      const unsigned char* const entry = table.data() + i * entry_bytes;
      const auto tag = static_cast<std::uint16_t>(decode(entry, 2));
      Array array{static_cast<std::uint16_t>(decode(entry + 2, 2)), decode(entry + 4, word), 0, 0};
      const std::uint64_t in_entry = offset + count_bytes + i * entry_bytes + 4 + word;
      const bool is_inline = element_bytes(array.type) * array.count <= word;
      array.offset = is_inline ? in_entry : decode(entry + 4 + word, word) + (upper[i] << 32);
      if (is_inline && array.count == 1) array.upper = upper[i] << 32;
      if (tag == kStripOffsets || tag == kTileOffsets) offsets = array;
      if (tag == kStripByteCounts || tag == kTileByteCounts) counts = array;
      if (tag == kTagSubIfds) subifds = array;
    }
    if (subifds && subifds->count <= kMostSubIfds) note_subifds(*subifds);
    if (offsets && counts && offsets->count == counts->count) check_data(*offsets, *counts);
    return decode(table.data() + entries * entry_bytes, next_bytes);
  }

  void note_subifds(const Array& subifds) {
    const std::uint64_t element = element_bytes(subifds.type);
    if (element == 0) return;
    const auto values = array_bytes(subifds, element);
    for (std::uint64_t i = 0; i < subifds.count; ++i) subifds_.push_back(decode(values.data() + i * element, element));
  }

  void check_data(const Array& offsets, const Array& counts) {
    const std::uint64_t offset_bytes = element_bytes(offsets.type), count_bytes = element_bytes(counts.type);
    if (offset_bytes == 0 || count_bytes == 0) return;  // not an integer type: for the decoder to refuse
    const auto begins = array_bytes(offsets, offset_bytes);
    const auto lengths = array_bytes(counts, count_bytes);
    std::uint64_t reach = 0;
    for (std::uint64_t i = 0; i < offsets.count; ++i) {
      const std::uint64_t length = decode(lengths.data() + i * count_bytes, count_bytes) + counts.upper;
      if (length == 0) continue;  // a tile that was never written
      const std::uint64_t begin = decode(begins.data() + i * offset_bytes, offset_bytes) + offsets.upper;
      reach = std::max(reach, length > std::numeric_limits<std::uint64_t>::max() - begin
                                  ? std::numeric_limits<std::uint64_t>::max()
                                  : begin + length);
    }
    if (reach > file_bytes_) refuse("tile data", reach);
  }

  std::vector<unsigned char> array_bytes(const Array& array, std::uint64_t element) {
    if (array.count > file_bytes_ / element) refuse("a tile table", array.offset + array.count);
    return bytes_at(array.offset, array.count * element, "a tile table");
  }

  static std::uint64_t element_bytes(std::uint16_t type) {
    switch (type) {
      case 3:
        return 2;  // SHORT
      case 4:
      case 13:
        return 4;  // LONG, IFD
      case 16:
      case 18:
        return 8;  // LONG8, IFD8
      default:
        return 0;
    }
  }

  std::uint64_t value_at(std::uint64_t offset, std::uint64_t bytes, const char* what) {
    return decode(bytes_at(offset, bytes, what).data(), bytes);
  }

  std::vector<unsigned char> bytes_at(std::uint64_t offset, std::uint64_t bytes, const char* what) {
    if (offset > file_bytes_ || bytes > file_bytes_ - offset) refuse(what, offset + bytes);
    std::vector<unsigned char> content(bytes);
    file_.seekg(static_cast<std::streamoff>(offset));
    file_.read(reinterpret_cast<char*>(content.data()), static_cast<std::streamsize>(bytes));
    if (!file_) throw Error(ErrorCode::kBadInput, "{}: cannot be read at byte {}", path_.string(), offset);
    return content;
  }

  std::uint64_t decode(const unsigned char* bytes, std::uint64_t size) const {
    std::uint64_t value = 0;
    for (std::uint64_t i = 0; i < size; ++i) value = value << 8 | bytes[big_endian_ ? i : size - 1 - i];
    return value;
  }

  [[noreturn]] void refuse(const char* what, std::uint64_t reach) const {
    throw Error(ErrorCode::kBadInput, "{}: truncated: {} reach{} to byte {} of {}; fetch the file again",
                path_.string(), what, what == std::string_view("tile data") ? "" : "es", reach, file_bytes_);
  }

  std::filesystem::path path_;
  std::ifstream file_;
  std::uint64_t file_bytes_;
  bool big_endian_ = false;
  bool big_tiff_ = false;
  bool ndpi_ = false;
  std::vector<std::uint64_t> subifds_;
};

}  // namespace

void check_tiff_is_whole(const std::filesystem::path& path) {
  TiffWalk walk(path);
  walk.run();
}

std::vector<Size<LevelPx>> sizes_that_openslide_misreads(const std::filesystem::path& path) {
  constexpr std::uint16_t kAperioJpeg2000YCbCr = 33003, kAperioJpeg2000Rgb = 33005;
  std::vector<Size<LevelPx>> sizes;
  const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(TIFFOpen(path.c_str(), "rm"), TIFFClose);
  if (tiff == nullptr) return sizes;
  do {
    std::uint32_t width = 0, height = 0, tile_width = 0, tile_height = 0;
    std::uint16_t compression = 0;
    const bool is_tiled = TIFFGetField(tiff.get(), TIFFTAG_IMAGEWIDTH, &width) == 1 &&
                          TIFFGetField(tiff.get(), TIFFTAG_IMAGELENGTH, &height) == 1 &&
                          TIFFGetField(tiff.get(), TIFFTAG_TILEWIDTH, &tile_width) == 1 &&
                          TIFFGetField(tiff.get(), TIFFTAG_TILELENGTH, &tile_height) == 1;
    TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_COMPRESSION, &compression);
    const bool own_decoder =
        compression == COMPRESSION_JPEG || compression == kAperioJpeg2000YCbCr || compression == kAperioJpeg2000Rgb;
    if (is_tiled && !own_decoder && (width < tile_width || height < tile_height)) sizes.push_back({width, height});
  } while (TIFFReadDirectory(tiff.get()) == 1);
  return sizes;
}

}  // namespace vtissue::io
