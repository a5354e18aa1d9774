#pragma once

#include <functional>

#include "io/hdf5.h"

/// What the sources of io/hdf5.h share. All of it is to be called under the ApiLock.
namespace vtissue::io::hdf5 {

Handle property_list(hid_t list_class);

/// Variable-length string in memory or file.
Handle variable_string_type(H5T_cset_t cset = H5T_CSET_UTF8);

/// No times; attributes always inside the object's header (a dense store of attributes only pays for many).
void make_deterministic(hid_t object_creation_list);

TypeKind kind_of(hid_t type);
std::vector<std::uint64_t> shape_of(hid_t space);

/// Number of elements; the largest number if it overflows.
std::uint64_t product(std::span<const std::uint64_t> shape);

/// Reads `count` strings of a dataset or attribute, fixed or variable; `read` makes the call.
std::vector<std::string> read_string_values(hid_t type, hid_t space, std::uint64_t count, const Place& place,
                                            const std::function<herr_t(hid_t memory_type, void* out)>& read);

std::vector<const char*> pointers_to(std::span<const std::string> values);

}  // namespace vtissue::io::hdf5
