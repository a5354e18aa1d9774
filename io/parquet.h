#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace vtissue::io {

/// A Parquet file of plain columns, as Space Ranger, pandas and polars write tables (apache/parquet-format): numbers
/// and strings, required or optional, encodings PLAIN and dictionary, pages of both versions, without compression or
/// with Snappy, gzip or Zstandard. Everything else is refused by name, with the command that turns the file into CSV.
/// Immutable, thread-safe.
class ParquetFile {
 public:
  /// Reads the footer. Throws Error kBadInput: missing, not Parquet, cut off, damaged, encrypted, more rows than an
  /// array of Visium HD has.
  explicit ParquetFile(const std::filesystem::path& path);

  std::int64_t rows() const { return rows_; }
  /// Names of all columns, in the file's order.
  std::vector<std::string> columns() const;

  /// [rows] a column of integers, floating-point numbers or booleans. Throws Error kBadInput: no such column, another
  /// type, an empty cell, an unknown encoding or compression, damaged pages.
  std::vector<double> numbers(const std::string& column) const;
  /// [rows] a column of strings. Throws Error kBadInput as numbers().
  std::vector<std::string> strings(const std::string& column) const;

  /// A column of the schema.
  struct Column {
    std::string name;
    int type = -1;  ///< parquet.thrift Type
    bool optional = false;
    bool plain = true;  ///< neither nested nor repeated
  };
  /// The part of a column in one group of rows.
  struct Chunk {
    int codec = 0;  ///< CompressionCodec
    std::int64_t values = 0, rows = 0;
    std::uint64_t offset = 0, bytes = 0;  ///< of its pages in the file
  };

 private:
  [[noreturn]] void fail(const std::string& what) const;
  void read_footer(const std::vector<std::byte>& footer);
  void read_row_group(class ThriftReader& reader);
  void read_chunk(ThriftReader& reader, std::size_t column, Chunk& chunk) const;
  std::size_t find(const std::string& name) const;
  template <typename T>
  std::vector<T> read(const std::string& name) const;

  std::filesystem::path path_;
  std::uint64_t file_bytes_ = 0;
  std::int64_t rows_ = 0;
  std::vector<Column> columns_;
  std::vector<std::vector<Chunk>> groups_;  // by group, by column
};

/// Begins with Parquet's magic bytes.
bool is_parquet(const std::filesystem::path& path);

}  // namespace vtissue::io
