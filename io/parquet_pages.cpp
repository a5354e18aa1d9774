#include "io/parquet_pages.h"

#include <snappy.h>
#include <spdlog/fmt/fmt.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>

#include "io/thrift_compact.h"

static_assert(std::endian::native == std::endian::little, "Parquet is little-endian");

namespace vtissue::io::parquet {
namespace {

// Numbers of parquet.thrift.
enum PhysicalType { kBoolean = 0, kInt32 = 1, kInt64 = 2, kFloat = 4, kDouble = 5, kByteArray = 6 };
enum Codec { kUncompressed = 0, kSnappy = 1, kGzip = 2, kZstd = 6 };
enum PageType { kDataPage = 0, kDictionaryPage = 2, kDataPageV2 = 3 };
enum Encoding { kPlain = 0, kPlainDictionary = 2, kRle = 3, kRleDictionary = 8 };

constexpr std::array<std::string_view, 8> kCodecNames{"none",   "Snappy", "gzip",      "LZO",
                                                      "Brotli", "LZ4",    "Zstandard", "LZ4_RAW"};
constexpr std::array<std::string_view, 10> kEncodingNames{
    "PLAIN",          "GROUP_VAR_INT",       "PLAIN_DICTIONARY",        "RLE",
    "BIT_PACKED",     "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY",
    "RLE_DICTIONARY", "BYTE_STREAM_SPLIT"};
constexpr std::size_t kLargestPage = std::size_t{256} << 20;

using Bytes = std::span<const std::byte>;

template <std::size_t n>
std::string name_of(const std::array<std::string_view, n>& names, int value) {
  return value >= 0 && static_cast<std::size_t>(value) < n ? std::string(names[static_cast<std::size_t>(value)])
                                                           : fmt::format("{}", value);
}

[[noreturn]] void fail_damaged() { throw std::runtime_error("a page is damaged"); }

struct PageHeader {
  int type = -1, encoding = -1;
  std::int64_t values = -1, uncompressed = -1, compressed = -1;
  std::optional<std::uint32_t> crc;
  // Of version 2.
  std::int64_t definition_bytes = 0, repetition_bytes = 0;
  bool is_compressed = true;
};

PageHeader read_header(Bytes bytes, std::size_t& length) {
  ThriftReader reader(bytes);
  PageHeader header;
  using Type = ThriftReader::Type;
  reader.read_struct([&](int id, Type type) {
    const bool counts = id == 5 || id == 7 || id == 8;
    if (counts && type == Type::kStruct) {
      reader.read_struct([&](int member, Type member_type) {
        if (id == 8 && member == 7) return header.is_compressed = member_type == Type::kTrue, false;
        if (id == 8 && member == 5) return header.definition_bytes = reader.read_integer(member_type), true;
        if (id == 8 && member == 6) return header.repetition_bytes = reader.read_integer(member_type), true;
        if (member == 1) return header.values = reader.read_integer(member_type), true;
        if (member == (id == 8 ? 4 : 2))
          return header.encoding = static_cast<int>(reader.read_integer(member_type)), true;
        return false;
      });
      return true;
    }
    if (id == 1) return header.type = static_cast<int>(reader.read_integer(type)), true;
    if (id == 2) return header.uncompressed = reader.read_integer(type), true;
    if (id == 3) return header.compressed = reader.read_integer(type), true;
    if (id == 4) return header.crc = static_cast<std::uint32_t>(reader.read_integer(type)), true;
    return false;
  });
  length = reader.position();
  if (header.compressed < 0 || static_cast<std::uint64_t>(header.compressed) > bytes.size() - length) {
    throw std::runtime_error("a page is cut off");
  }
  if (header.uncompressed < 0 || static_cast<std::uint64_t>(header.uncompressed) > kLargestPage) {
    throw std::runtime_error(fmt::format("a page claims {} bytes", header.uncompressed));
  }
  return header;
}

void inflate_gzip(Bytes in, std::vector<std::byte>& out) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 32) != Z_OK) throw std::runtime_error("zlib cannot be started");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (inflate(&stream, Z_FINISH) != Z_STREAM_END || stream.avail_out != 0) fail_damaged();
}

/// `in` inflated to `size` bytes.
std::vector<std::byte> decompress(Bytes in, int codec, std::size_t size) {
  // An empty page of a compressed column may be stored as nothing.
  if (size == 0) return {};
  std::vector<std::byte> out(size);
  switch (codec) {
    case kUncompressed:
      if (in.size() != size) fail_damaged();
      std::ranges::copy(in, out.begin());
      break;
    case kSnappy: {
      const char* data = reinterpret_cast<const char*>(in.data());
      std::size_t length = 0;
      if (!snappy::GetUncompressedLength(data, in.size(), &length) || length != size ||
          !snappy::RawUncompress(data, in.size(), reinterpret_cast<char*>(out.data()))) {
        fail_damaged();
      }
      break;
    }
    case kGzip:
      inflate_gzip(in, out);
      break;
    case kZstd:
      if (ZSTD_decompress(out.data(), size, in.data(), in.size()) != size) fail_damaged();
      break;
    default:
      throw std::runtime_error(
          fmt::format("it is compressed by {}, which is not read here", name_of(kCodecNames, codec)));
  }
  return out;
}

/// Runs and bit-packed groups (parquet-format Encodings.md "RLE"), `count` numbers of `width` bits.
std::vector<std::uint32_t> read_hybrid(Bytes bytes, int width, std::size_t count) {
  if (width < 0 || width > 32) fail_damaged();
  std::vector<std::uint32_t> numbers;
  numbers.reserve(count);
  std::size_t at = 0;
  const std::size_t value_bytes = (static_cast<std::size_t>(width) + 7) / 8;
  while (numbers.size() < count) {
    std::uint64_t head = 0;
    for (unsigned shift = 0;; shift += 7) {
      if (at >= bytes.size() || shift > 35) fail_damaged();
      const auto part = static_cast<std::uint8_t>(bytes[at++]);
      head |= std::uint64_t{part & 0x7fu} << shift;
      if ((part & 0x80) == 0) break;
    }
    const std::size_t left = count - numbers.size();
    if ((head & 1) == 0) {
      const std::uint64_t run = head >> 1;
      if (run == 0 || value_bytes > bytes.size() - at) fail_damaged();
      std::uint32_t value = 0;
      std::memcpy(&value, bytes.data() + at, value_bytes);
      at += value_bytes;
      numbers.insert(numbers.end(), std::min<std::uint64_t>(run, left), value);
      continue;
    }
    const std::uint64_t groups = head >> 1;
    if (groups == 0 || groups > (std::uint64_t{1} << 32)) fail_damaged();
    const std::uint64_t packed = std::min<std::uint64_t>(groups * static_cast<std::uint64_t>(width), bytes.size() - at);
    const std::size_t take = std::min<std::uint64_t>(groups * 8, left);
    if (packed * 8 < take * static_cast<std::uint64_t>(width)) fail_damaged();
    std::uint64_t buffer = 0;
    int bits = 0;
    std::size_t next = at;
    for (std::size_t i = 0; i < take; ++i) {
      while (bits < width) {
        buffer |= std::uint64_t{static_cast<std::uint8_t>(bytes[next++])} << bits;
        bits += 8;
      }
      numbers.push_back(static_cast<std::uint32_t>(buffer & ((std::uint64_t{1} << width) - 1)));
      buffer >>= width;
      bits -= width;
    }
    at += packed;
  }
  return numbers;
}

template <typename Stored>
void read_fixed(Bytes bytes, std::size_t count, std::vector<double>& out) {
  if (count > bytes.size() / sizeof(Stored)) fail_damaged();
  for (std::size_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, bytes.data() + i * sizeof(Stored), sizeof value);
    out.push_back(static_cast<double>(value));
  }
}

void read_plain(Bytes bytes, int type, std::size_t count, std::vector<double>& out) {
  switch (type) {
    case kBoolean:
      if ((count + 7) / 8 > bytes.size()) fail_damaged();
      for (std::size_t i = 0; i < count; ++i) {
        out.push_back(static_cast<double>((static_cast<unsigned>(bytes[i / 8]) >> (i % 8)) & 1u));
      }
      return;
    case kInt32:
      return read_fixed<std::int32_t>(bytes, count, out);
    case kInt64:
      return read_fixed<std::int64_t>(bytes, count, out);
    case kFloat:
      return read_fixed<float>(bytes, count, out);
    case kDouble:
      return read_fixed<double>(bytes, count, out);
    default:
      throw std::runtime_error("it does not hold numbers");
  }
}

void read_plain(Bytes bytes, int type, std::size_t count, std::vector<std::string>& out) {
  if (type != kByteArray) throw std::runtime_error("it does not hold strings");
  std::size_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t length = 0;
    if (bytes.size() - at < sizeof length) fail_damaged();
    std::memcpy(&length, bytes.data() + at, sizeof length);
    at += sizeof length;
    if (length > bytes.size() - at) fail_damaged();
    out.emplace_back(reinterpret_cast<const char*>(bytes.data()) + at, length);
    at += length;
  }
}

/// All cells must be there: a level of 0 is an empty one.
void require_defined(Bytes levels, std::size_t count, std::size_t first_row) {
  const std::vector<std::uint32_t> defined = read_hybrid(levels, 1, count);
  const auto empty = std::ranges::find(defined, 0u);
  if (empty == defined.end()) return;
  throw std::runtime_error(
      fmt::format("row {} is empty", first_row + static_cast<std::size_t>(empty - defined.begin()) + 1));
}

template <typename T>
void read_values(Bytes bytes, const PageHeader& header, int type, const std::vector<T>& dictionary,
                 std::vector<T>& out) {
  const auto count = static_cast<std::size_t>(header.values);
  if (header.encoding == kPlain) return read_plain(bytes, type, count, out);
  if (header.encoding != kRleDictionary && header.encoding != kPlainDictionary) {
    throw std::runtime_error(
        fmt::format("it is encoded as {}, which is not read here", name_of(kEncodingNames, header.encoding)));
  }
  if (count == 0) return;
  if (bytes.empty()) fail_damaged();
  for (const std::uint32_t index : read_hybrid(bytes.subspan(1), static_cast<int>(bytes[0]), count)) {
    if (index >= dictionary.size()) fail_damaged();
    out.push_back(dictionary[index]);
  }
}

/// A page of values as it is in the file; `first_row` of the column.
template <typename T>
void read_data_page(Bytes page, const PageHeader& header, const ParquetFile::Column& column, int codec,
                    const std::vector<T>& dictionary, std::size_t first_row, std::vector<T>& out) {
  const auto count = static_cast<std::size_t>(header.values);
  if (header.type == kDataPageV2) {
    const std::int64_t levels = header.definition_bytes + header.repetition_bytes;
    if (header.repetition_bytes != 0 || header.definition_bytes < 0 || levels > header.compressed ||
        levels > header.uncompressed) {
      fail_damaged();
    }
    const auto level_bytes = static_cast<std::size_t>(levels);
    if (column.optional) require_defined(page.first(level_bytes), count, first_row);
    const std::size_t size = static_cast<std::size_t>(header.uncompressed) - level_bytes;
    const auto values = decompress(page.subspan(level_bytes), header.is_compressed ? codec : kUncompressed, size);
    return read_values<T>(values, header, column.type, dictionary, out);
  }
  const std::vector<std::byte> plain = decompress(page, codec, static_cast<std::size_t>(header.uncompressed));
  Bytes bytes(plain);
  if (column.optional) {
    std::uint32_t length = 0;
    if (bytes.size() < sizeof length) fail_damaged();
    std::memcpy(&length, bytes.data(), sizeof length);
    if (length > bytes.size() - sizeof length) fail_damaged();
    require_defined(bytes.subspan(sizeof length, length), count, first_row);
    bytes = bytes.subspan(sizeof length + length);
  }
  read_values<T>(bytes, header, column.type, dictionary, out);
}

template <typename T>
void read_all(Bytes bytes, const ParquetFile::Column& column, const ParquetFile::Chunk& chunk, std::vector<T>& out) {
  const std::size_t begin = out.size();
  std::vector<T> dictionary;
  std::int64_t left = chunk.values;
  while (left > 0) {
    std::size_t header_bytes = 0;
    if (bytes.empty()) throw std::runtime_error(fmt::format("{} of its {} values are missing", left, chunk.values));
    const PageHeader header = read_header(bytes, header_bytes);
    const Bytes page = bytes.subspan(header_bytes, static_cast<std::size_t>(header.compressed));
    bytes = bytes.subspan(header_bytes + page.size());
    if (header.crc &&
        ::crc32(0, reinterpret_cast<const Bytef*>(page.data()), static_cast<uInt>(page.size())) != *header.crc) {
      throw std::runtime_error("the checksum of a page is wrong");
    }
    if (header.type == kDictionaryPage) {
      if (header.values < 0 || header.values > header.uncompressed * 8) fail_damaged();
      const auto plain = decompress(page, chunk.codec, static_cast<std::size_t>(header.uncompressed));
      dictionary.clear();
      read_plain(plain, column.type, static_cast<std::size_t>(header.values), dictionary);
    } else if (header.type == kDataPage || header.type == kDataPageV2) {
      if (header.values < 0 || header.values > left) fail_damaged();
      read_data_page(page, header, column, chunk.codec, dictionary, out.size(), out);
      left -= header.values;
    }
  }
  if (out.size() - begin != static_cast<std::size_t>(chunk.values)) fail_damaged();
}

}  // namespace

void read_pages(Bytes bytes, const ParquetFile::Column& column, const ParquetFile::Chunk& chunk,
                std::vector<double>& out) {
  read_all(bytes, column, chunk, out);
}

void read_pages(Bytes bytes, const ParquetFile::Column& column, const ParquetFile::Chunk& chunk,
                std::vector<std::string>& out) {
  read_all(bytes, column, chunk, out);
}

}  // namespace vtissue::io::parquet
