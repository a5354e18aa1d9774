#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "core/torch_file.h"
#include "core/zip_archive.h"
#include "tests/fuzz/fuzz_support.h"

namespace {

constexpr std::uint8_t kWrap = 0xff;

void put(std::vector<std::byte>& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<std::byte>(i < 8 ? value >> (8 * i) : 0));
}

void put(std::vector<std::byte>& out, std::span<const std::byte> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

struct Entry {
  std::string_view name;
  std::span<const std::byte> data;
};

/// A zip archive of stored entries with the right checksums, which mutation alone would hardly ever hit: what follows
/// the first byte is its pickle, and two storages of 64 bytes lie beside it.
std::vector<std::byte> archive_around(std::span<const std::byte> pickle) {
  static const std::vector<std::byte> kStorage(64, std::byte{1});
  const Entry entries[] = {{"a/data.pkl", pickle}, {"a/data/0", kStorage}, {"a/data/1", kStorage}};
  std::vector<std::byte> out, directory;
  for (const Entry& entry : entries) {
    const auto name = std::as_bytes(std::span(entry.name));
    const std::size_t offset = out.size();
    const auto common = [&](std::vector<std::byte>& to) {
      put(to, vtissue::crc32(entry.data), 4);
      put(to, entry.data.size(), 4);
      put(to, entry.data.size(), 4);
      put(to, name.size(), 2);
      put(to, 0, 2);  // extra
    };
    put(out, 0x04034b50, 4);
    put(out, 0, 10);  // version, flags, method, time
    common(out);
    put(out, name);
    put(out, entry.data);
    put(directory, 0x02014b50, 4);
    put(directory, 0, 12);
    common(directory);
    put(directory, 0, 10);  // comment, disk, attributes
    put(directory, offset, 4);
    put(directory, name);
  }
  const std::size_t offset = out.size();
  put(out, directory);
  put(out, 0x06054b50, 4);
  put(out, 0, 4);
  put(out, std::size(entries), 2);
  put(out, std::size(entries), 2);
  put(out, directory.size(), 4);
  put(out, offset, 4);
  put(out, 0, 2);
  return out;
}

void read_all(std::span<const std::byte> bytes) {
  const auto file = vtissue::TorchFile::parse(bytes, "fuzz.pth");
  std::size_t left = 1 << 20;  // an expanded tensor is slow to write out, and nothing new
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {
    const std::size_t size = file.tensors()[i].bytes;
    if (size > left) continue;
    left -= size;
    std::vector<std::byte> out(size);
    file.read(i, out);
    if (const auto view = file.view(i); !view.empty() && !std::equal(view.begin(), view.end(), out.begin())) {
      throw std::logic_error("a view differs from a copy");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return vtissue::fuzz_reader(data, size, [](std::span<const std::byte> bytes) {
    if (!bytes.empty() && static_cast<std::uint8_t>(bytes[0]) == kWrap) {
      read_all(archive_around(bytes.subspan(1)));
    } else {
      read_all(bytes);
    }
  });
}
