#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vtissue::io {

/// A text file line by line, plain or gzip by its content (not its name). Holds one line.
class LineReader {
 public:
  /// Throws Error kBadInput if it cannot be opened.
  explicit LineReader(const std::filesystem::path& path);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// The next line without its end (LF or CR LF) and without a byte order mark; valid until the next
  /// call. False at the end. Throws Error kBadInput: damaged or cut gzip, a line over 1 GiB.
  bool next(std::string_view& line);
  /// Of the line next() gave, from 1.
  std::size_t line_number() const { return line_number_; }
  /// Throws Error kBadInput "file, line n: what".
  [[noreturn]] void fail(std::string_view what) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::filesystem::path path_;
  std::size_t line_number_ = 0;
};

/// Fields of a line, views into it. A field in double quotes may hold the separator; the quotes are
/// taken off, doubled quotes inside stay as they are. `fields` is cleared first.
void split_fields(std::string_view line, char separator, std::vector<std::string_view>& fields);

/// A whole field as a number, blanks around it allowed, whatever the locale. Nothing if it is not one.
std::optional<double> parse_number(std::string_view field);
std::optional<std::int64_t> parse_integer(std::string_view field);

/// Begins with gzip's magic bytes.
bool has_gzip_signature(const std::filesystem::path& path);

/// Inflates `source` into `target`. Throws Error kBadInput (damaged or cut), kOutput (disk full).
void gunzip(const std::filesystem::path& source, const std::filesystem::path& target);

}  // namespace vtissue::io
