#include "io/bigtiff_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <concepts>
#include <fstream>

#include "core/atomic_file.h"
#include "core/error.h"

namespace vtissue::io {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;
constexpr std::uint64_t kFirstDirectoryField = 8;  // its offset in the header
constexpr std::size_t kInlineBytes = 8;

template <std::unsigned_integral T>
void append_little_endian(std::vector<std::byte>& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    out.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i) & 255));
  }
}

template <std::unsigned_integral T>
std::vector<std::byte> little_endian(std::span<const T> values) {
  std::vector<std::byte> bytes;
  bytes.reserve(values.size_bytes());
  for (const T value : values) append_little_endian(bytes, value);
  return bytes;
}

/// With the offset of the first directory.
std::vector<std::byte> file_header(std::uint64_t directory) {
  std::vector<std::byte> header{std::byte{'I'}, std::byte{'I'}};
  append_little_endian<std::uint16_t>(header, 43);
  append_little_endian<std::uint16_t>(header, 8);  // bytes of an offset
  append_little_endian<std::uint16_t>(header, 0);
  append_little_endian<std::uint64_t>(header, directory);
  return header;
}

/// Returns 0 or the error's number.
int write_fully(int file, std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t written = ::write(file, data.data(), data.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    data = data.subspan(static_cast<std::size_t>(written));
  }
  return 0;
}

}  // namespace

void TiffDirectory::set_short(std::uint16_t tag, std::span<const std::uint16_t> values) {
  fields_[tag] = {Type::kShort, values.size(), little_endian(values)};
}

void TiffDirectory::set_long(std::uint16_t tag, std::uint32_t value) {
  fields_[tag] = {Type::kLong, 1, little_endian(std::span<const std::uint32_t>(&value, 1))};
}

void TiffDirectory::set_long8(std::uint16_t tag, std::span<const std::uint64_t> values) {
  fields_[tag] = {Type::kLong8, values.size(), little_endian(values)};
}

void TiffDirectory::set_ifd8(std::uint16_t tag, std::span<const std::uint64_t> offsets) {
  fields_[tag] = {Type::kIfd8, offsets.size(), little_endian(offsets)};
}

void TiffDirectory::set_rational(std::uint16_t tag, std::span<const std::uint32_t> values) {
  fields_[tag] = {Type::kRational, values.size() / 2, little_endian(values)};
}

void TiffDirectory::set_ascii(std::uint16_t tag, std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  Field field{Type::kAscii, text.size() + 1, {bytes.begin(), bytes.end()}};
  field.value.push_back(std::byte{0});
  fields_[tag] = std::move(field);
}

void TiffDirectory::set_bytes(std::uint16_t tag, Type type, std::span<const std::byte> bytes) {
  fields_[tag] = {type, bytes.size(), {bytes.begin(), bytes.end()}};
}

BigTiffWriter::BigTiffWriter(std::filesystem::path path) : path_(std::move(path)) {
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) throw_output_error(path_, "create", errno);
  struct stat status {};
  is_regular_ = ::fstat(file_, &status) == 0 && S_ISREG(status.st_mode);
  const std::vector<std::byte> header = file_header(0);  // finish() fills the first directory in
  offset_ = header.size();
  buffer_ = header;
}

BigTiffWriter::~BigTiffWriter() {
  if (file_ >= 0) ::close(file_);
  if (!finished_ && is_regular_) ::unlink(path_.c_str());
}

BigTiffWriter::Extent BigTiffWriter::append(std::span<const std::byte> data) {
  if (offset_ % 2 != 0) put(std::array{std::byte{0}});
  const Extent extent{offset_, data.size()};
  put(data);
  return extent;
}

void BigTiffWriter::finish(std::span<const TiffDirectory> directories) {
  std::uint64_t next = 0;  // from the last to the first, so that each knows its successor
  for (std::size_t i = directories.size(); i-- > 0;) next = write_directory(directories[i], next);
  flush();
  first_directory_ = next;
  std::vector<std::byte> first;
  append_little_endian(first, next);
  if (::lseek(file_, kFirstDirectoryField, SEEK_SET) < 0) throw_output_error(path_, "write", errno);
  if (const int error = write_fully(file_, first)) throw_output_error(path_, "write", error);
  const int closed = ::close(file_);
  file_ = -1;
  if (closed != 0) throw_output_error(path_, "close", errno);
  if (is_regular_) verify();
  finished_ = true;
}

void BigTiffWriter::verify() const {
  std::ifstream file(path_, std::ios::binary);
  std::vector<std::byte> block(kBufferBytes);
  const auto read = [&](std::size_t bytes) {
    file.read(reinterpret_cast<char*>(block.data()), static_cast<std::streamsize>(bytes));
    return std::span<const std::byte>(block).first(static_cast<std::size_t>(file.gcount()));
  };
  const std::vector<std::byte> header = file_header(first_directory_);
  bool equal = std::ranges::equal(read(header.size()), header);
  std::uint64_t bytes = header.size();
  Checksum64 seen;
  while (equal && file) {
    const auto piece = read(kBufferBytes);
    seen.update(piece);
    bytes += piece.size();
  }
  equal = equal && bytes == offset_ && seen.value() == written_.value();
  if (!equal) {
    throw Error(ErrorCode::kOutput,
                "{}: what is on the disk is not what was written ({} of {} bytes seen); check the disk and run the "
                "command again",
                path_.string(), bytes, offset_);
  }
}

std::uint64_t BigTiffWriter::write_directory(const TiffDirectory& directory, std::uint64_t next) {
  std::vector<std::byte> table;
  append_little_endian<std::uint64_t>(table, directory.fields().size());
  for (const auto& [tag, field] : directory.fields()) {
    append_little_endian(table, tag);
    append_little_endian(table, static_cast<std::uint16_t>(field.type));
    append_little_endian(table, field.count);
    if (field.value.size() <= kInlineBytes) {
      std::vector<std::byte> value = field.value;
      value.resize(kInlineBytes);
      table.insert(table.end(), value.begin(), value.end());
    } else {
      append_little_endian(table, append(field.value).offset);
    }
  }
  append_little_endian(table, next);
  return append(table).offset;
}

void BigTiffWriter::put(std::span<const std::byte> data) {
  offset_ += data.size();
  written_.update(data);
  if (buffer_.size() + data.size() > kBufferBytes) flush();
  if (data.size() >= kBufferBytes) {
    if (const int error = write_fully(file_, data)) throw_output_error(path_, "write", error);
  } else {
    buffer_.insert(buffer_.end(), data.begin(), data.end());
  }
}

void BigTiffWriter::flush() {
  if (const int error = write_fully(file_, buffer_)) throw_output_error(path_, "write", error);
  buffer_.clear();
}

}  // namespace vtissue::io
