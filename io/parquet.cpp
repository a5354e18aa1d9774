#include "io/parquet.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <stdexcept>

#include "core/error.h"
#include "io/parquet_pages.h"
#include "io/thrift_compact.h"

namespace vtissue::io {
namespace fs = std::filesystem;

namespace {

using HeaderType = ThriftReader::Type;

constexpr std::string_view kParquetMagic = "PAR1", kEncryptedParquetMagic = "PARE";
constexpr std::int64_t kMostParquetRows = 16'000'000;  // the 2 µm bins of Visium HD are 3350 x 3350
constexpr std::uint64_t kLargestParquetFooter = 64 << 20;

std::string parquet_tail(std::ifstream& stream, std::uint64_t from_end) {
  std::string text(4, '\0');
  stream.seekg(-static_cast<std::streamoff>(from_end), std::ios::end);
  stream.read(text.data(), 4);
  return stream ? text : "";
}

}  // namespace

bool is_parquet(const fs::path& path) {
  std::array<char, 4> head{};
  std::ifstream stream(path, std::ios::binary);
  if (!stream.read(head.data(), head.size())) return false;
  const std::string_view magic(head.data(), head.size());
  return magic == kParquetMagic || magic == kEncryptedParquetMagic;
}

void ParquetFile::fail(const std::string& what) const {
  throw Error(ErrorCode::kBadInput, "{}: {}", path_.string(), what);
}

ParquetFile::ParquetFile(const fs::path& path) : path_(path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) fail("no such file");
  file_bytes_ = fs::file_size(path, error);
  std::ifstream stream(path, std::ios::binary);
  if (!is_parquet(path)) fail("is not a Parquet file");
  const std::string magic = file_bytes_ < 12 ? "" : parquet_tail(stream, 4);
  if (magic == kEncryptedParquetMagic) fail("is encrypted; write it again without encryption");
  if (magic != kParquetMagic) fail("is a Parquet file without its end; it may be cut off, copy it again");
  const std::string length_text = parquet_tail(stream, 8);
  std::uint32_t length = 0;
  std::memcpy(&length, length_text.data(), sizeof length);
  if (length > file_bytes_ - 12 || length > kLargestParquetFooter) {
    fail(fmt::format("says that its footer has {} bytes, but the file has {}; it is damaged", length, file_bytes_));
  }
  std::vector<std::byte> footer(length);
  stream.seekg(-static_cast<std::streamoff>(length) - 8, std::ios::end);
  stream.read(reinterpret_cast<char*>(footer.data()), length);
  if (!stream) fail("cannot be read");
  try {
    read_footer(footer);
  } catch (const std::runtime_error& defect) {
    fail(fmt::format("its footer is damaged ({}); copy the file again", defect.what()));
  }
}

void ParquetFile::read_footer(const std::vector<std::byte>& footer) {
  ThriftReader reader(footer);
  struct Element {
    Column column;
    std::int64_t children = 0;
    int repetition = 0;
  };
  std::vector<Element> schema;
  reader.read_struct([&](int id, HeaderType type) {
    if (id == 2 && type == HeaderType::kList) {
      reader.read_list(HeaderType::kStruct, [&] {
        Element element;
        reader.read_struct([&](int member, HeaderType member_type) {
          if (member == 4 && member_type == HeaderType::kBinary)
            return element.column.name = reader.read_string(), true;
          if (member == 1) return element.column.type = static_cast<int>(reader.read_integer(member_type)), true;
          if (member == 3) return element.repetition = static_cast<int>(reader.read_integer(member_type)), true;
          if (member == 5) return element.children = reader.read_integer(member_type), true;
          return false;
        });
        schema.push_back(std::move(element));
      });
      // The first element is the table; of its children those with children of their own are nested.
      std::int64_t nested = 0;
      for (std::size_t i = 1; i < schema.size(); ++i) {
        Element& element = schema[i];
        const bool inside = nested > 0;
        if (inside) --nested;
        if (element.children < 0 || element.children > static_cast<std::int64_t>(schema.size())) {
          throw std::runtime_error("its schema is inconsistent");
        }
        nested += element.children;
        if (element.children > 0) continue;
        element.column.optional = element.repetition == 1;
        element.column.plain = !inside && element.repetition != 2;
        columns_.push_back(std::move(element.column));
      }
      return true;
    }
    if (id == 3) return rows_ = reader.read_integer(type), true;
    if (id == 4 && type == HeaderType::kList)
      return reader.read_list(HeaderType::kStruct, [&] { read_row_group(reader); }), true;
    return false;
  });
  if (rows_ < 0 || rows_ > kMostParquetRows) throw std::runtime_error(fmt::format("it claims {} rows", rows_));
  std::int64_t rows = 0;
  for (const std::vector<Chunk>& group : groups_) {
    if (group.size() != columns_.size()) throw std::runtime_error("a group of rows has other columns than the schema");
    for (const Chunk& chunk : group) {
      if (chunk.rows < 0 || chunk.rows > kMostParquetRows || chunk.rows != group.front().rows) {
        throw std::runtime_error("a group of rows has columns of different lengths");
      }
    }
    if (!group.empty()) rows += group.front().rows;
    if (rows > rows_) break;
  }
  if (rows != rows_ && !columns_.empty()) {
    throw std::runtime_error(fmt::format("its groups have {} rows, the file {}", rows, rows_));
  }
}

void ParquetFile::read_row_group(ThriftReader& reader) {
  std::vector<Chunk> chunks;
  std::int64_t rows = 0;
  reader.read_struct([&](int id, HeaderType type) {
    if (id == 3) return rows = reader.read_integer(type), true;
    if (id != 1 || type != HeaderType::kList) return false;
    reader.read_list(HeaderType::kStruct, [&] {
      const std::size_t column = chunks.size();
      read_chunk(reader, column, chunks.emplace_back());
    });
    return true;
  });
  for (Chunk& chunk : chunks) chunk.rows = rows;
  groups_.push_back(std::move(chunks));
}

void ParquetFile::read_chunk(ThriftReader& reader, std::size_t column, Chunk& chunk) const {
  std::int64_t data = -1, dictionary = -1, bytes = -1;
  int type_there = -1;
  bool elsewhere = false;
  reader.read_struct([&](int id, HeaderType type) {
    if (id == 1 && type == HeaderType::kBinary) return elsewhere = !reader.read_string().empty(), true;
    if (id != 3 || type != HeaderType::kStruct) return false;
    reader.read_struct([&](int member, HeaderType member_type) {
      switch (member) {
        case 1:
          return type_there = static_cast<int>(reader.read_integer(member_type)), true;
        case 4:
          return chunk.codec = static_cast<int>(reader.read_integer(member_type)), true;
        case 5:
          return chunk.values = reader.read_integer(member_type), true;
        case 7:
          return bytes = reader.read_integer(member_type), true;
        case 9:
          return data = reader.read_integer(member_type), true;
        case 11:
          return dictionary = reader.read_integer(member_type), true;
        default:
          return false;
      }
    });
    return true;
  });
  if (elsewhere) throw std::runtime_error("its columns are in other files");
  if (column >= columns_.size() || type_there != columns_[column].type) {
    throw std::runtime_error("a column has another type than the schema");
  }
  const std::int64_t begin = dictionary > 0 ? std::min(dictionary, data) : data;
  if (begin < 4 || bytes < 0 || static_cast<std::uint64_t>(begin) > file_bytes_ ||
      static_cast<std::uint64_t>(bytes) > file_bytes_ - static_cast<std::uint64_t>(begin)) {
    throw std::runtime_error("a column lies outside the file");
  }
  chunk.offset = static_cast<std::uint64_t>(begin);
  chunk.bytes = static_cast<std::uint64_t>(bytes);
}

std::vector<std::string> ParquetFile::columns() const {
  std::vector<std::string> names;
  for (const Column& column : columns_) names.push_back(column.name);
  return names;
}

std::size_t ParquetFile::find(const std::string& name) const {
  const auto found = std::ranges::find(columns_, name, &Column::name);
  if (found == columns_.end()) fail(fmt::format("has no column '{}' (it has: {})", name, fmt::join(columns(), ", ")));
  return static_cast<std::size_t>(found - columns_.begin());
}

template <typename T>
std::vector<T> ParquetFile::read(const std::string& name) const {
  const std::size_t index = find(name);
  const Column& column = columns_[index];
  std::vector<T> values;
  std::ifstream stream(path_, std::ios::binary);
  std::vector<std::byte> bytes;
  try {
    if (!column.plain) throw std::runtime_error("it is nested");
    for (const std::vector<Chunk>& group : groups_) {
      const Chunk& chunk = group[index];
      if (chunk.values != chunk.rows) {
        throw std::runtime_error(fmt::format("it has {} values in a group of {} rows", chunk.values, chunk.rows));
      }
      bytes.resize(chunk.bytes);
      stream.seekg(static_cast<std::streamoff>(chunk.offset));
      stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
      if (!stream) throw std::runtime_error("it cannot be read");
      parquet::read_pages(bytes, column, chunk, values);
    }
  } catch (const std::runtime_error& defect) {
    const fs::path csv = fs::path(path_.filename()).replace_extension(".csv");
    fail(
        fmt::format("column '{}': {}. If other programs read the file, turn it into {} beside it: python3 -c \"import "
                    "pandas; pandas.read_parquet('{}').to_csv('{}', index=False)\"",
                    name, defect.what(), csv.string(), path_.filename().string(), csv.string()));
  }
  return values;
}

std::vector<double> ParquetFile::numbers(const std::string& column) const { return read<double>(column); }

std::vector<std::string> ParquetFile::strings(const std::string& column) const { return read<std::string>(column); }

}  // namespace vtissue::io
