#include "core/torch_tensor_writer.h"

#include <cerrno>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/zip_archive.h"

namespace vtissue {
namespace {

constexpr std::uint64_t kLargestArchive = 0xffffffff;
constexpr std::uint64_t kAlignment = 64;  // of an entry's data, so that PyTorch may map it
constexpr std::uint16_t kZipVersion = 20, kDosDate = 0x21 /* 1 January 1980 */;

void put(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

/// A pickled integer: the shortest form that protocol 2 has for it.
std::string pickled(std::int64_t value) {
  std::string out;
  if (value < 256) {
    out = "K";
    put(out, static_cast<std::uint64_t>(value), 1);
  } else if (value < 65536) {
    out = "M";
    put(out, static_cast<std::uint64_t>(value), 2);
  } else if (value <= 0x7fffffff) {
    out = "J";
    put(out, static_cast<std::uint64_t>(value), 4);
  } else {
    out = "\x8a\x08";
    put(out, static_cast<std::uint64_t>(value), 8);
  }
  return out;
}

std::string pickled(std::string_view text) {
  std::string out = "X";
  put(out, text.size(), 4);
  return out.append(text);
}

/// The call that PyTorch makes a contiguous tensor by (formats.md 4.2).
std::string pickled_tensor(std::int64_t rows, std::int64_t columns) {
  const std::string storage = "(" + pickled(std::string_view("storage")) + "ctorch\nFloatStorage\n" +
                              pickled(std::string_view("0")) + pickled(std::string_view("cpu")) +
                              pickled(rows * columns) + "tQ";
  return "\x80\x02"
         "ctorch._utils\n_rebuild_tensor_v2\n(" +
         storage + pickled(std::int64_t{0}) + pickled(rows) + pickled(columns) + "\x86" + pickled(columns) +
         pickled(std::int64_t{1}) + "\x86\x89" + "ccollections\nOrderedDict\n)RtR.";
}

struct ZipEntry {
  std::string name;
  std::uint64_t offset = 0, bytes = 0;
  std::uint32_t crc = 0;
};

/// What local header and central directory say of an entry alike.
void put_common(std::string& out, const ZipEntry& entry) {
  put(out, kZipVersion, 2);
  put(out, 0, 2);  // flags
  put(out, 0, 2);  // stored
  put(out, 0, 2);  // time
  put(out, kDosDate, 2);
  put(out, entry.crc, 4);
  put(out, entry.bytes, 4);
  put(out, entry.bytes, 4);
  put(out, entry.name.size(), 2);
}

/// With padding in its extra field, as PyTorch pads ("FB"), so that the data begins on a multiple of kAlignment.
std::string local_header(const ZipEntry& entry) {
  std::string out = "PK\x03\x04";
  put_common(out, entry);
  constexpr std::uint64_t kField = 4;  // the extra field's own head
  const std::uint64_t end = entry.offset + out.size() + 2 + entry.name.size() + kField;
  const std::uint64_t padding = (kAlignment - end % kAlignment) % kAlignment;
  put(out, kField + padding, 2);
  out += entry.name;
  out += "FB";
  put(out, padding, 2);
  return out.append(padding, 'Z');
}

std::string directory_of(const std::vector<ZipEntry>& entries, std::uint64_t offset) {
  std::string out;
  for (const ZipEntry& entry : entries) {
    out += "PK\x01\x02";
    put(out, kZipVersion, 2);
    put_common(out, entry);
    put(out, 0, 2 + 2 + 2 + 2);  // extra field, comment, disk, attributes
    put(out, 0, 4);              // and outer attributes
    put(out, entry.offset, 4);
    out += entry.name;
  }
  const std::uint64_t bytes = out.size();
  out += "PK\x05\x06";
  put(out, 0, 4);  // disks
  put(out, entries.size(), 2);
  put(out, entries.size(), 2);
  put(out, bytes, 4);
  put(out, offset, 4);
  put(out, 0, 2);  // comment
  return out;
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace

struct TorchTensorWriter::Impl {
  std::filesystem::path path;
  std::ofstream file;
  std::vector<ZipEntry> entries;  // the last one is the tensor's
  std::uint64_t written = 0, expected = 0;
  bool finished = false;

  std::uint64_t position() { return static_cast<std::uint64_t>(file.tellp()); }
  void write(std::string_view text) {
    errno = 0;
    if (!file.write(text.data(), static_cast<std::streamsize>(text.size()))) throw_output_error(path, "write", errno);
  }
  void add(const std::string& name, std::string_view content) {
    ZipEntry entry{"archive/" + name, position(), content.size(), crc32(bytes_of(content))};
    write(local_header(entry));
    write(content);
    entries.push_back(std::move(entry));
  }
  ~Impl() {
    if (finished) return;
    file.close();
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

TorchTensorWriter::TorchTensorWriter(const std::filesystem::path& path, std::int64_t rows, std::int64_t columns) {
  if (rows < 0 || columns < 1) throw std::logic_error("TorchTensorWriter: a tensor of no columns or fewer rows than 0");
  constexpr std::uint64_t kRoom = 1 << 16;  // for all but the values
  const auto bytes = static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(columns) * sizeof(float);
  if (bytes > kLargestArchive - kRoom) {
    throw Error(ErrorCode::kOutput, "{}: {} x {} values are more than a .pt file of 4 GiB holds; use the .h5 file",
                path.string(), rows, columns);
  }
  impl_ = std::make_unique<Impl>();
  impl_->path = path;
  impl_->expected = bytes;
  errno = 0;
  impl_->file.open(path, std::ios::binary | std::ios::trunc);
  if (!impl_->file) throw_output_error(path, "create", errno);
  impl_->add("data.pkl", pickled_tensor(rows, columns));
  impl_->add("byteorder", "little");
  impl_->add("version", "3\n");
  ZipEntry tensor{"archive/data/0", impl_->position(), bytes, 0};
  impl_->write(local_header(tensor));  // again with the CRC when it is known
  impl_->entries.push_back(std::move(tensor));
}

TorchTensorWriter::~TorchTensorWriter() = default;

void TorchTensorWriter::append(std::span<const float> values) {
  const std::span<const std::byte> bytes = std::as_bytes(values);
  if (bytes.size() > impl_->expected - impl_->written) throw std::logic_error("TorchTensorWriter: too many values");
  impl_->write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  impl_->entries.back().crc = crc32(bytes, impl_->entries.back().crc);
  impl_->written += bytes.size();
}

void TorchTensorWriter::finish() {
  if (impl_->written != impl_->expected) throw std::logic_error("TorchTensorWriter: values are missing");
  const std::uint64_t end = impl_->position();
  impl_->write(directory_of(impl_->entries, end));
  impl_->file.seekp(static_cast<std::streamoff>(impl_->entries.back().offset));
  impl_->write(local_header(impl_->entries.back()));
  errno = 0;
  impl_->file.close();
  if (!impl_->file) throw_output_error(impl_->path, "write", errno);
  impl_->finished = true;
}

}  // namespace vtissue
