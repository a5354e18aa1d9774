#include "io/hdf5_compound.h"

#include <array>

#include "io/hdf5_detail.h"

namespace vtissue::io::hdf5 {
namespace {

/// The type of a member in the file.
Handle member_type(const Dataset& dataset, const std::string& name) {
  const Handle type(H5Dget_type(dataset.id()), H5Tclose);
  const int index = H5Tget_member_index(type.get(), name.c_str());
  if (index < 0) dataset.place().fail(fmt::format("has no member '{}'", name));
  return {H5Tget_member_type(type.get(), static_cast<unsigned>(index)), H5Tclose};
}

/// A structure in memory that has this member alone, so that HDF5 leaves out the others.
Handle alone(const std::string& name, hid_t type) {
  Handle structure(H5Tcreate(H5T_COMPOUND, H5Tget_size(type)), H5Tclose);
  H5Tinsert(structure.get(), name.c_str(), 0, type);
  return structure;
}

}  // namespace

std::vector<Member> members(const Dataset& dataset) {
  const ApiLock lock;
  if (dataset.kind() != TypeKind::kCompound) dataset.place().fail("is not a table of compound type");
  const Handle type(H5Dget_type(dataset.id()), H5Tclose);
  std::vector<Member> found;
  const int count = H5Tget_nmembers(type.get());
  for (int i = 0; i < count; ++i) {
    char* name = H5Tget_member_name(type.get(), static_cast<unsigned>(i));
    if (name == nullptr) dataset.place().fail_with_reason("the name of a member cannot be read");
    Member member{name, TypeKind::kOther};
    H5free_memory(name);
    const Handle own(H5Tget_member_type(type.get(), static_cast<unsigned>(i)), H5Tclose);
    if (H5Tget_class(own.get()) == H5T_ARRAY) {
      const Handle element(H5Tget_super(own.get()), H5Tclose);
      member.kind = kind_of(element.get());
      std::array<hsize_t, H5S_MAX_RANK> dims{};
      const int rank = H5Tget_array_dims2(own.get(), dims.data());
      for (int k = 0; k < rank; ++k) member.width *= dims[static_cast<std::size_t>(k)];
    } else {
      member.kind = kind_of(own.get());
    }
    found.push_back(std::move(member));
  }
  return found;
}

template <typename T>
std::vector<T> read_member(const Dataset& dataset, const Member& member) {
  const ApiLock lock;
  if (member.kind != TypeKind::kInteger && member.kind != TypeKind::kFloat && member.kind != TypeKind::kBool) {
    dataset.place().fail(fmt::format("member '{}' does not hold numbers", member.name));
  }
  dataset.require_plausible();
  std::vector<T> values(dataset.elements() * member.width);
  if (values.empty()) return values;
  const std::array<hsize_t, 1> width{member.width};
  const Handle in_file = member_type(dataset, member.name);
  const Handle type = H5Tget_class(in_file.get()) == H5T_ARRAY
                          ? Handle(H5Tarray_create2(native_type<T>(), 1, width.data()), H5Tclose)
                          : Handle(H5Tcopy(native_type<T>()), H5Tclose);
  const Handle structure = alone(member.name, type.get());
  if (H5Dread(dataset.id(), structure.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0) {
    dataset.place().fail_with_reason(fmt::format("member '{}' cannot be read", member.name));
  }
  return values;
}

template std::vector<std::int64_t> read_member(const Dataset& dataset, const Member& member);
template std::vector<double> read_member(const Dataset& dataset, const Member& member);

std::vector<std::string> read_member_strings(const Dataset& dataset, const Member& member) {
  const ApiLock lock;
  if (member.kind != TypeKind::kString || member.width != 1) {
    dataset.place().fail(fmt::format("member '{}' does not hold strings", member.name));
  }
  dataset.require_plausible();
  const Handle type = member_type(dataset, member.name);
  const Handle space(H5Dget_space(dataset.id()), H5Sclose);
  return read_string_values(type.get(), space.get(), dataset.elements(), dataset.place(),
                            [&](hid_t memory_type, void* out) {
                              const Handle structure = alone(member.name, memory_type);
                              return H5Dread(dataset.id(), structure.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, out);
                            });
}

}  // namespace vtissue::io::hdf5
