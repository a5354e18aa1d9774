#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "io/hdf5.h"

/// Long vectors of numbers, read fast.
namespace vtissue::io::hdf5 {

/// Entries [first, first + out.size()) of a one-dimensional dataset of numbers, as Dataset::read_rows() gives them, but
/// an integer that int32 does not hold becomes -1. Chunks of deflate, with or without shuffle, and plain vectors are
/// read on two threads; everything else goes through HDF5. Throws Error kBadInput: out of range, cannot be read,
/// damaged.
void read_entries(const Dataset& dataset, std::uint64_t first, std::span<float> out);
void read_entries(const Dataset& dataset, std::uint64_t first, std::span<std::int32_t> out);

/// Both on threads of their own; what they throw is thrown, the first one's first.
void two_at_once(const std::function<void()>& first, const std::function<void()>& second);

/// Asks the system for large pages for memory that was reserved and not used yet: a hundred million entries else cost
/// more in page faults than in reading.
void prefer_large_pages(void* memory, std::size_t bytes);

template <typename T>
void resize_large(std::vector<T>& vector, std::size_t size) {
  vector.reserve(size);
  prefer_large_pages(vector.data(), size * sizeof(T));
  vector.resize(size);
}

}  // namespace vtissue::io::hdf5
