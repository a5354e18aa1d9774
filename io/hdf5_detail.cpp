#include "io/hdf5_detail.h"

#include <algorithm>
#include <limits>

namespace vtissue::io::hdf5 {

Handle property_list(hid_t list_class) { return {H5Pcreate(list_class), H5Pclose}; }

Handle variable_string_type(H5T_cset_t cset) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), cset);
  return type;
}

void make_deterministic(hid_t object_creation_list) {
  H5Pset_obj_track_times(object_creation_list, false);
  H5Pset_attr_phase_change(object_creation_list, 64, 0);
}

TypeKind kind_of(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return TypeKind::kInteger;
    case H5T_FLOAT:
      return TypeKind::kFloat;
    case H5T_STRING:
      return TypeKind::kString;
    case H5T_COMPOUND:
      return TypeKind::kCompound;
    case H5T_ENUM:
      return H5Tget_nmembers(type) == 2 ? TypeKind::kBool : TypeKind::kOther;
    default:
      return TypeKind::kOther;
  }
}

std::vector<std::uint64_t> shape_of(hid_t space) {
  const int rank = H5Sget_simple_extent_ndims(space);
  std::vector<hsize_t> dims(static_cast<std::size_t>(std::max(rank, 0)));
  if (rank > 0) H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  return {dims.begin(), dims.end()};
}

std::uint64_t product(std::span<const std::uint64_t> shape) {
  std::uint64_t n = 1;
  for (const std::uint64_t extent : shape) {
    if (extent != 0 && n > std::numeric_limits<std::uint64_t>::max() / extent) {
      return std::numeric_limits<std::uint64_t>::max();
    }
    n *= extent;
  }
  return n;
}

std::vector<std::string> read_string_values(hid_t type, hid_t space, std::uint64_t count, const Place& place,
                                            const std::function<herr_t(hid_t memory_type, void* out)>& read) {
  std::vector<std::string> strings(count);
  if (count == 0) return strings;
  if (H5Tis_variable_str(type) > 0) {
    const Handle memory_type = variable_string_type(H5Tget_cset(type));
    std::vector<char*> pointers(count, nullptr);
    if (read(memory_type.get(), pointers.data()) < 0) place.fail_with_reason("strings cannot be read");
    for (std::size_t i = 0; i < count; ++i) {
      if (pointers[i] != nullptr) strings[i] = pointers[i];
    }
    H5Dvlen_reclaim(memory_type.get(), space, H5P_DEFAULT, pointers.data());
    return strings;
  }
  const std::size_t width = H5Tget_size(type);
  std::vector<char> buffer(count * width);
  if (read(type, buffer.data()) < 0) place.fail_with_reason("strings cannot be read");
  const bool space_padded = H5Tget_strpad(type) == H5T_STR_SPACEPAD;
  for (std::size_t i = 0; i < count; ++i) {
    std::string_view text(buffer.data() + i * width, width);
    text = text.substr(0, text.find('\0'));
    if (space_padded) text = text.substr(0, text.find_last_not_of(' ') + 1);
    strings[i] = text;
  }
  return strings;
}

std::vector<const char*> pointers_to(std::span<const std::string> values) {
  std::vector<const char*> pointers;
  pointers.reserve(values.size());
  for (const std::string& value : values) pointers.push_back(value.c_str());
  return pointers;
}

}  // namespace vtissue::io::hdf5
