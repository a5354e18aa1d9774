#include "io/delimited.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/gzip_stream.h"

namespace vtissue::io {
namespace {

constexpr unsigned kReadBytes = 1 << 18;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

template <typename T>
std::optional<T> parse(std::string_view field) {
  field = trimmed(field);
  T value{};
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc{} || end != field.data() + field.size() || field.empty()) return std::nullopt;
  return value;
}

}  // namespace

struct LineReader::Impl {
  GzipStream stream;
  std::string buffer;     // unread text
  std::size_t begin = 0;  // of it
  bool at_end = false;

  explicit Impl(const std::filesystem::path& path) : stream(path) {}

  void fill() {
    buffer.erase(0, begin);
    begin = 0;
    const std::size_t old_size = buffer.size();
    buffer.resize(old_size + kReadBytes);
    const std::size_t got = stream.read(buffer.data() + old_size, kReadBytes);
    buffer.resize(old_size + got);
    at_end = got == 0;
  }
};

LineReader::LineReader(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)), path_(path) {}

LineReader::~LineReader() = default;

bool LineReader::next(std::string_view& line) {
  Impl& impl = *impl_;
  constexpr std::size_t kLongestLine = std::size_t{1} << 30;
  std::size_t end = impl.buffer.find('\n', impl.begin);
  while (end == std::string::npos && !impl.at_end) {
    const std::size_t searched = impl.buffer.size() - impl.begin;
    if (searched > kLongestLine) fail("the line is longer than 1 GiB: not a text table");
    impl.fill();
    end = impl.buffer.find('\n', searched);
  }
  if (end == std::string::npos) {
    if (impl.begin == impl.buffer.size()) return false;
    end = impl.buffer.size();
  }
  line = std::string_view(impl.buffer).substr(impl.begin, end - impl.begin);
  impl.begin = std::min(end + 1, impl.buffer.size());
  if (line.ends_with('\r')) line.remove_suffix(1);
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (line_number_++ == 0 && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  return true;
}

void LineReader::fail(std::string_view what) const {
  throw Error(ErrorCode::kBadInput, "{}, line {}: {}", path_.string(), line_number_, what);
}

void split_fields(std::string_view line, char separator, std::vector<std::string_view>& fields) {
  fields.clear();
  for (std::size_t begin = 0;;) {
    if (begin < line.size() && line[begin] == '"') {
      std::size_t close = line.find('"', begin + 1);
      while (close != std::string_view::npos && close + 1 < line.size() && line[close + 1] == '"') {
        close = line.find('"', close + 2);
      }
      if (close != std::string_view::npos && (close + 1 == line.size() || line[close + 1] == separator)) {
        fields.push_back(line.substr(begin + 1, close - begin - 1));
        if (close + 1 == line.size()) return;
        begin = close + 2;
        continue;
      }
    }
    const std::size_t end = line.find(separator, begin);
    fields.push_back(line.substr(begin, end == std::string_view::npos ? end : end - begin));
    if (end == std::string_view::npos) return;
    begin = end + 1;
  }
}

std::optional<double> parse_number(std::string_view field) { return parse<double>(field); }

std::optional<std::int64_t> parse_integer(std::string_view field) { return parse<std::int64_t>(field); }

bool has_gzip_signature(const std::filesystem::path& path) {
  std::array<char, 2> head{};
  std::ifstream stream(path, std::ios::binary);
  return stream.read(head.data(), head.size()) && head[0] == '\x1f' && head[1] == '\x8b';
}

void gunzip(const std::filesystem::path& source, const std::filesystem::path& target) {
  GzipStream stream(source);
  std::ofstream out(target, std::ios::binary | std::ios::trunc);
  if (!out) throw_output_error(target, "create", errno);
  std::vector<char> block(kReadBytes);
  while (const std::size_t got = stream.read(block.data(), kReadBytes)) {
    if (!out.write(block.data(), static_cast<std::streamsize>(got))) throw_output_error(target, "write", errno);
  }
  out.close();
  if (!out) throw_output_error(target, "write", errno);
}

}  // namespace vtissue::io
