#include "io/hdf5_lzf.h"

#include <hdf5.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

namespace vtissue::io::hdf5 {
namespace {

/// A control byte below 32 announces that many literals and one more. Any other is a copy: its upper
/// three bits are the length less 2 (7: a byte of further length follows), its lower five with the next
/// byte the distance less 1. Nothing if the stream is damaged or does
/// not give `size` bytes exactly.
std::optional<std::vector<std::uint8_t>> decode_lzf(std::span<const std::uint8_t> in, std::size_t size) {
  constexpr unsigned kLiterals = 32, kLongCopy = 7;
  std::vector<std::uint8_t> out;
  // A stream gives at most 264 bytes for each of its own three; a claim of more is not worth the memory.
  out.reserve(std::min(size, in.size() * 88));
  for (std::size_t at = 0; at < in.size();) {
    const unsigned control = in[at++];
    if (control < kLiterals) {
      const std::size_t count = control + 1;
      if (count > in.size() - at || count > size - out.size()) return std::nullopt;
      out.insert(out.end(), in.begin() + static_cast<std::ptrdiff_t>(at),
                 in.begin() + static_cast<std::ptrdiff_t>(at + count));
      at += count;
      continue;
    }
    std::size_t length = control >> 5;
    if (length == kLongCopy) {
      if (at >= in.size()) return std::nullopt;
      length += in[at++];
    }
    if (at >= in.size()) return std::nullopt;
    const std::size_t distance = (static_cast<std::size_t>(control & 31) << 8 | in[at++]) + 1;
    if (distance > out.size() || length + 2 > size - out.size()) return std::nullopt;
    // Byte by byte: a copy may overlap what it makes.
    for (std::size_t i = 0; i < length + 2; ++i) out.push_back(out[out.size() - distance]);
  }
  if (out.size() != size) return std::nullopt;
  return out;
}

std::size_t chunk_bytes = 0;  // guarded by the lock of the API

std::size_t filter(unsigned flags, std::size_t, const unsigned*, std::size_t bytes, std::size_t* buffer_size,
                   void** buffer) {
  if ((flags & H5Z_FLAG_REVERSE) == 0) return 0;
  try {
    const auto decoded = decode_lzf({static_cast<const std::uint8_t*>(*buffer), bytes}, chunk_bytes);
    if (!decoded || decoded->empty()) return 0;
    void* memory = H5allocate_memory(decoded->size(), false);
    if (memory == nullptr) return 0;
    std::memcpy(memory, decoded->data(), decoded->size());
    H5free_memory(*buffer);
    *buffer = memory;
    *buffer_size = decoded->size();
    return decoded->size();
  } catch (const std::bad_alloc&) {
    return 0;  // an exception must not cross the C library
  }
}

}  // namespace

void set_lzf_chunk_bytes(std::size_t bytes) { chunk_bytes = bytes; }

void register_lzf_decoder() {
  if (H5Zfilter_avail(kLzfFilter) > 0) return;
  H5Z_class2_t description{};
  description.version = H5Z_CLASS_T_VERS;
  description.id = kLzfFilter;
  description.encoder_present = 0;
  description.decoder_present = 1;
  description.name = "lzf";
  description.filter = filter;
  H5Zregister(&description);
}

}  // namespace vtissue::io::hdf5
