#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/hdf5.h"

/// Datasets of compound type: structured arrays of h5py, the tables of anndata up to 0.6. Read only.
namespace vtissue::io::hdf5 {

struct Member {
  std::string name;
  TypeKind kind;
  std::uint64_t width = 1;  ///< elements of a member that is an array, else 1
};

/// In the file's order. Throws Error kBadInput if the dataset is not of compound type.
std::vector<Member> members(const Dataset& dataset);

/// [elements * width] as T, int64 or double. Throws Error kBadInput if it does not hold numbers.
template <typename T>
std::vector<T> read_member(const Dataset& dataset, const Member& member);

/// [elements], strings of fixed or variable length.
std::vector<std::string> read_member_strings(const Dataset& dataset, const Member& member);

}  // namespace vtissue::io::hdf5
