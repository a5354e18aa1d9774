#include "io/hdf5_entries.h"

#include <libdeflate.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <thread>

#include "io/hdf5_detail.h"

namespace vtissue::io::hdf5 {
namespace {

/// The numbers of a file that need no HDF5 to be understood.
enum class Stored { kFloat32, kFloat64, kInt32, kInt64, kUint32, kUint64 };

struct ChunkedNumbers {
  Stored type{};
  std::size_t type_bytes = 0;
  std::uint64_t chunk = 0;  ///< elements
  bool packed = false, shuffled = false;
  int descriptor = -1;  ///< of the file, where chunks are not packed
};

std::optional<Stored> stored_type(hid_t type) {
  const std::array<std::pair<hid_t, Stored>, 6> known{{{H5T_IEEE_F32LE, Stored::kFloat32},
                                                       {H5T_IEEE_F64LE, Stored::kFloat64},
                                                       {H5T_STD_I32LE, Stored::kInt32},
                                                       {H5T_STD_I64LE, Stored::kInt64},
                                                       {H5T_STD_U32LE, Stored::kUint32},
                                                       {H5T_STD_U64LE, Stored::kUint64}}};
  for (const auto& [id, stored] : known) {
    if (H5Tequal(type, id) > 0) return stored;
  }
  return std::nullopt;
}

/// The descriptor of a dataset's file; nothing if addresses in it are not offsets.
std::optional<int> file_descriptor(hid_t dataset) {
  const Handle file(H5Iget_file_id(dataset), H5Fclose);
  const Handle access(H5Fget_access_plist(file.get()), H5Pclose), creation(H5Fget_create_plist(file.get()), H5Pclose);
  hsize_t user_block = 1;
  void* descriptor = nullptr;
  if (H5Pget_driver(access.get()) != H5FD_SEC2 || H5Pget_userblock(creation.get(), &user_block) < 0 ||
      user_block != 0 || H5Fget_vfd_handle(file.get(), access.get(), &descriptor) < 0) {
    return std::nullopt;
  }
  return *static_cast<int*>(descriptor);
}

void read_at(const Dataset& dataset, int descriptor, std::uint64_t offset, void* out, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t got =
        ::pread(descriptor, static_cast<std::byte*>(out) + done, bytes - done, static_cast<off_t>(offset + done));
    if (got <= 0) dataset.place().fail("cannot be read; the file may be damaged or cut off, copy or make it again");
    done += static_cast<std::size_t>(got);
  }
}

/// Nothing if the dataset is not chunks of plain numbers, as they are or packed by deflate alone.
std::optional<ChunkedNumbers> chunked_numbers(hid_t dataset) {
  constexpr std::uint64_t kLargestChunk = std::uint64_t{64} << 20;
  const Handle list(H5Dget_create_plist(dataset), H5Pclose);
  hsize_t chunk = 0;
  if (H5Pget_layout(list.get()) != H5D_CHUNKED || H5Pget_chunk(list.get(), 1, &chunk) != 1) return std::nullopt;
  ChunkedNumbers numbers;
  numbers.chunk = chunk;
  const int filters = H5Pget_nfilters(list.get());
  for (int i = 0; i < filters; ++i) {
    std::size_t parameters = 0;
    unsigned flags = 0, configuration = 0;
    const H5Z_filter_t filter =
        H5Pget_filter2(list.get(), static_cast<unsigned>(i), &flags, &parameters, nullptr, 0, nullptr, &configuration);
    const bool last = i + 1 == filters;
    if (filter == H5Z_FILTER_SHUFFLE && !last && !numbers.shuffled) {
      numbers.shuffled = true;
    } else if (filter == H5Z_FILTER_DEFLATE && last) {
      numbers.packed = true;
    } else {
      return std::nullopt;
    }
  }
  if (!numbers.packed) {
    const std::optional<int> descriptor = file_descriptor(dataset);
    if (!descriptor) return std::nullopt;
    numbers.descriptor = *descriptor;
  }
  const Handle type(H5Dget_type(dataset), H5Tclose);
  const std::optional<Stored> stored = stored_type(type.get());
  if (!stored) return std::nullopt;
  numbers.type = *stored;
  numbers.type_bytes = H5Tget_size(type.get());
  return numbers.chunk * numbers.type_bytes <= kLargestChunk ? std::optional(numbers) : std::nullopt;
}

template <typename From, typename To>
void convert(const std::byte* bytes, std::span<To> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    From value;
    std::memcpy(&value, bytes + i * sizeof(From), sizeof(From));
    if constexpr (std::is_same_v<To, float>) {
      out[i] = static_cast<float>(value);
    } else if constexpr (std::is_floating_point_v<From>) {
      out[i] = value >= 0 && value < 2147483648.0 ? static_cast<std::int32_t>(value) : -1;
    } else {
      out[i] = std::in_range<std::int32_t>(value) ? static_cast<std::int32_t>(value) : -1;
    }
  }
}

template <typename To>
void convert(Stored type, const std::byte* bytes, std::span<To> out) {
  switch (type) {
    case Stored::kFloat32:
      return convert<float>(bytes, out);
    case Stored::kFloat64:
      return convert<double>(bytes, out);
    case Stored::kInt32:
      return convert<std::int32_t>(bytes, out);
    case Stored::kInt64:
      return convert<std::int64_t>(bytes, out);
    case Stored::kUint32:
      return convert<std::uint32_t>(bytes, out);
    case Stored::kUint64:
      return convert<std::uint64_t>(bytes, out);
  }
}

/// Puts together the bytes of each number, which the filter has laid apart.
void unshuffle(const std::vector<std::byte>& apart, std::size_t type_bytes, std::vector<std::byte>& whole) {
  const std::size_t count = apart.size() / type_bytes;
  whole.resize(apart.size());
  for (std::size_t k = 0; k < type_bytes; ++k) {
    for (std::size_t i = 0; i < count; ++i) whole[i * type_bytes + k] = apart[k * count + i];
  }
}

/// Whether numbers of the file are what memory holds.
template <typename To>
constexpr Stored kSame = std::is_same_v<To, float> ? Stored::kFloat32 : Stored::kInt32;

/// Chunks one after another, on one thread of several.
template <typename To>
class ChunkReader {
 public:
  ChunkReader(const Dataset& dataset, const ChunkedNumbers& numbers, std::uint64_t first, std::span<To> out)
      : dataset_(dataset),
        numbers_(numbers),
        first_(first),
        out_(out),
        inflater_(libdeflate_alloc_decompressor(), libdeflate_free_decompressor),
        plain_(numbers.chunk * numbers.type_bytes) {
    if (inflater_ == nullptr) throw std::bad_alloc();
  }

  void read(std::uint64_t chunk) {
    const hsize_t begin = chunk * numbers_.chunk;
    const std::uint64_t from = std::max<std::uint64_t>(begin, first_);
    const std::uint64_t to = std::min<std::uint64_t>(begin + numbers_.chunk, first_ + out_.size());
    const std::span<To> part = out_.subspan(from - first_, to - from);
    if (!numbers_.packed) return read_plain(begin, from, part);
    unpack(begin);
    const std::vector<std::byte>& bytes = numbers_.shuffled ? whole_ : plain_;
    convert(numbers_.type, bytes.data() + (from - begin) * numbers_.type_bytes, part);
  }

 private:
  void read_plain(hsize_t begin, std::uint64_t from, std::span<To> part) {
    haddr_t address = HADDR_UNDEF;
    hsize_t bytes = 0;
    unsigned skipped_filters = 0;
    {
      const ApiLock lock;
      if (H5Dget_chunk_info_by_coord(dataset_.id(), &begin, &skipped_filters, &address, &bytes) < 0 ||
          address == HADDR_UNDEF || bytes != numbers_.chunk * numbers_.type_bytes) {
        dataset_.place().fail_with_reason("a chunk is missing");
      }
    }
    const std::uint64_t offset = address + (from - begin) * numbers_.type_bytes;
    if (numbers_.type == kSame<To>) {
      read_at(dataset_, numbers_.descriptor, offset, part.data(), part.size_bytes());
    } else {
      read_at(dataset_, numbers_.descriptor, offset, plain_.data(), part.size() * numbers_.type_bytes);
      convert(numbers_.type, plain_.data(), part);
    }
  }

  /// Into plain_ or whole_.
  void unpack(hsize_t begin) {
    std::uint32_t skipped_filters = 0;
    {
      const ApiLock lock;
      hsize_t bytes = 0;
      if (H5Dget_chunk_storage_size(dataset_.id(), &begin, &bytes) < 0 || bytes == 0) {
        dataset_.place().fail_with_reason("a chunk is missing");
      }
      if (bytes > dataset_.place().file_bytes) dataset_.place().fail("a chunk claims more bytes than the file has");
      packed_.resize(bytes);
      if (H5Dread_chunk(dataset_.id(), H5P_DEFAULT, &begin, &skipped_filters, packed_.data()) < 0) {
        dataset_.place().fail_with_reason("cannot be read");
      }
    }
    if (skipped_filters != 0) dataset_.place().fail("has chunks that are stored without its filters");
    if (libdeflate_zlib_decompress(inflater_.get(), packed_.data(), packed_.size(), plain_.data(), plain_.size(),
                                   nullptr) != LIBDEFLATE_SUCCESS) {
      dataset_.place().fail("a chunk is damaged; copy or make the file again");
    }
    if (numbers_.shuffled) unshuffle(plain_, numbers_.type_bytes, whole_);
  }

  const Dataset& dataset_;
  const ChunkedNumbers& numbers_;
  std::uint64_t first_;
  std::span<To> out_;
  std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)> inflater_;
  std::vector<std::byte> packed_, plain_, whole_;
};

/// False if chunks are missing, which HDF5 fills.
bool all_chunks_stored(const Dataset& dataset, const ChunkedNumbers& numbers) {
  hsize_t stored = 0;
  const Handle space(H5Dget_space(dataset.id()), H5Sclose);
  if (H5Dget_num_chunks(dataset.id(), space.get(), &stored) < 0) return false;
  return stored == (dataset.shape()[0] + numbers.chunk - 1) / numbers.chunk;
}

/// Where the numbers of a dataset that is neither chunked nor packed lie.
struct ContiguousNumbers {
  Stored type{};
  std::size_t type_bytes = 0;
  int descriptor = -1;
  std::uint64_t offset = 0;
};

/// Nothing if HDF5 does not say where in the file they are.
std::optional<ContiguousNumbers> contiguous_numbers(const Dataset& dataset) {
  const Handle list(H5Dget_create_plist(dataset.id()), H5Pclose);
  if (H5Pget_layout(list.get()) != H5D_CONTIGUOUS || H5Pget_external_count(list.get()) != 0) return std::nullopt;
  const std::optional<int> descriptor = file_descriptor(dataset.id());
  const Handle type(H5Dget_type(dataset.id()), H5Tclose);
  const std::optional<Stored> stored = stored_type(type.get());
  const haddr_t offset = H5Dget_offset(dataset.id());
  if (!descriptor || !stored || offset == HADDR_UNDEF) return std::nullopt;
  return ContiguousNumbers{*stored, H5Tget_size(type.get()), *descriptor, offset};
}

template <typename To>
void read_contiguous(const Dataset& dataset, const ContiguousNumbers& numbers, std::uint64_t first, std::span<To> out,
                     std::vector<std::byte>& buffer) {
  const std::size_t bytes = out.size() * numbers.type_bytes;
  std::byte* target = reinterpret_cast<std::byte*>(out.data());
  if (numbers.type != kSame<To>) {
    buffer.resize(bytes);
    target = buffer.data();
  }
  read_at(dataset, numbers.descriptor, numbers.offset + first * numbers.type_bytes, target, bytes);
  if (numbers.type != kSame<To>) convert(numbers.type, buffer.data(), out);
}

template <typename To>
void read_numbers(const Dataset& dataset, std::uint64_t first, std::span<To> out) {
  constexpr std::uint64_t kWorthwhile = 1 << 16;
  std::optional<ChunkedNumbers> chunked;
  std::optional<ContiguousNumbers> contiguous;
  if (out.size() >= kWorthwhile && dataset.shape().size() == 1 && first <= dataset.shape()[0] &&
      out.size() <= dataset.shape()[0] - first && std::endian::native == std::endian::little) {
    const ApiLock lock;
    chunked = chunked_numbers(dataset.id());
    if (chunked && !all_chunks_stored(dataset, *chunked)) chunked.reset();
    if (!chunked) contiguous = contiguous_numbers(dataset);
  }
  if (chunked) {
    const std::uint64_t end = (first + out.size() + chunked->chunk - 1) / chunked->chunk;
    std::atomic<std::uint64_t> next = first / chunked->chunk;
    const auto work = [&] {
      ChunkReader<To> reader(dataset, *chunked, first, out);
      for (std::uint64_t chunk = next++; chunk < end; chunk = next++) reader.read(chunk);
    };
    return two_at_once(work, work);
  }
  if (!contiguous) return dataset.read_rows(first, out.size(), out.data());
  constexpr std::uint64_t kBlock = 1 << 19;  // of the buffer, where numbers are converted
  std::vector<std::byte> buffer;
  for (std::uint64_t begin = 0; begin < out.size(); begin += kBlock) {
    const std::uint64_t count = std::min<std::uint64_t>(kBlock, out.size() - begin);
    read_contiguous(dataset, *contiguous, first + begin, out.subspan(begin, count), buffer);
  }
}

}  // namespace

void two_at_once(const std::function<void()>& first, const std::function<void()>& second) {
  std::exception_ptr failure;
  std::thread helper([&] {
    try {
      second();
    } catch (...) {
      failure = std::current_exception();
    }
  });
  try {
    first();
  } catch (...) {
    helper.join();
    throw;
  }
  helper.join();
  if (failure) std::rethrow_exception(failure);
}

void prefer_large_pages(void* memory, std::size_t bytes) {
  constexpr std::uintptr_t kPage = 4096;
  const auto begin = (reinterpret_cast<std::uintptr_t>(memory) + kPage - 1) / kPage * kPage;
  const auto end = (reinterpret_cast<std::uintptr_t>(memory) + bytes) / kPage * kPage;
  constexpr std::size_t kWorthwhile = 4 << 20;
  // Where the system does not offer them nothing is lost.
  if (bytes >= kWorthwhile) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

void read_entries(const Dataset& dataset, std::uint64_t first, std::span<float> out) {
  read_numbers(dataset, first, out);
}

void read_entries(const Dataset& dataset, std::uint64_t first, std::span<std::int32_t> out) {
  read_numbers(dataset, first, out);
}

}  // namespace vtissue::io::hdf5
