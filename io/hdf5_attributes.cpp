#include "io/hdf5_detail.h"

#include <array>

namespace vtissue::io::hdf5 {
namespace {

struct OpenAttribute {
  Handle attribute, type, space;
  std::uint64_t elements = 0;
};

std::optional<OpenAttribute> open_attribute(hid_t object, const std::string& name, const Place& place) {
  if (H5Aexists(object, name.c_str()) <= 0) return std::nullopt;
  OpenAttribute open;
  open.attribute = Handle(H5Aopen(object, name.c_str(), H5P_DEFAULT), H5Aclose);
  if (!open.attribute) place.fail_with_reason(fmt::format("attribute '{}' cannot be opened", name));
  open.type = Handle(H5Aget_type(open.attribute.get()), H5Tclose);
  open.space = Handle(H5Aget_space(open.attribute.get()), H5Sclose);
  open.elements = H5Sget_simple_extent_type(open.space.get()) == H5S_NULL ? 0 : product(shape_of(open.space.get()));
  constexpr std::uint64_t kMostElements = 1 << 24;
  if (open.elements > kMostElements) place.fail(fmt::format("attribute '{}' has {} elements", name, open.elements));
  // Attributes are stored as they are: one larger than the file is damage, not a reason to ask for memory.
  const std::uint64_t bytes = product(std::array{open.elements, std::uint64_t{H5Tget_size(open.type.get())}});
  if (bytes > place.file_bytes && place.code == ErrorCode::kBadInput) {
    place.fail(fmt::format("attribute '{}' claims {} bytes, more than a file of {}", name, bytes, place.file_bytes));
  }
  return open;
}

template <typename T>
std::optional<std::vector<T>> numeric_attribute(hid_t object, const std::string& name, const Place& place) {
  const ApiLock lock;
  const auto open = open_attribute(object, name, place);
  if (!open) return std::nullopt;
  const TypeKind kind = kind_of(open->type.get());
  if (kind != TypeKind::kInteger && kind != TypeKind::kFloat && kind != TypeKind::kBool) {
    place.fail(fmt::format("attribute '{}' is not a number", name));
  }
  std::vector<T> values(open->elements);
  if (!values.empty() && H5Aread(open->attribute.get(), native_type<T>(), values.data()) < 0) {
    place.fail_with_reason(fmt::format("attribute '{}' cannot be read", name));
  }
  return values;
}

void write_attribute(hid_t object, const std::string& name, hid_t type, std::optional<hsize_t> count,
                     const void* values, const Place& place) {
  const Handle space(count ? H5Screate_simple(1, &*count, nullptr) : H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(object, name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!attribute || (values != nullptr && H5Awrite(attribute.get(), type, values) < 0)) {
    place.fail_with_reason(fmt::format("attribute '{}' cannot be written", name));
  }
}

}  // namespace

std::optional<std::vector<std::string>> Object::strings_attribute(const std::string& name) const {
  const ApiLock lock;
  const auto open = open_attribute(id(), name, place_);
  if (!open) return std::nullopt;
  if (open->elements == 0) return std::vector<std::string>{};
  if (kind_of(open->type.get()) != TypeKind::kString) place_.fail(fmt::format("attribute '{}' is not a string", name));
  return read_string_values(open->type.get(), open->space.get(), open->elements, place_,
                            [&](hid_t type, void* out) { return H5Aread(open->attribute.get(), type, out); });
}

std::optional<std::string> Object::string_attribute(const std::string& name) const {
  auto strings = strings_attribute(name);
  if (!strings) return std::nullopt;
  if (strings->size() != 1) place_.fail(fmt::format("attribute '{}' has {} values, not one", name, strings->size()));
  return std::move(strings->front());
}

std::optional<std::vector<std::int64_t>> Object::integers_attribute(const std::string& name) const {
  return numeric_attribute<std::int64_t>(id(), name, place_);
}

std::optional<std::vector<double>> Object::numbers_attribute(const std::string& name) const {
  return numeric_attribute<double>(id(), name, place_);
}

std::string Object::required_string(const std::string& name) const {
  auto value = string_attribute(name);
  if (!value) place_.fail(fmt::format("attribute '{}' is missing", name));
  return *value;
}

std::int64_t Object::required_integer(const std::string& name) const {
  const auto values = integers_attribute(name);
  if (!values || values->size() != 1) place_.fail(fmt::format("attribute '{}' is missing or not one number", name));
  return values->front();
}

double Object::required_number(const std::string& name) const {
  const auto values = numeric_attribute<double>(id(), name, place_);
  if (!values || values->size() != 1) place_.fail(fmt::format("attribute '{}' is missing or not one number", name));
  return values->front();
}

void Object::set_string(const std::string& name, std::string_view value) {
  const ApiLock lock;
  const std::string text(value);
  const char* pointer = text.c_str();
  write_attribute(id(), name, variable_string_type().get(), std::nullopt, &pointer, place_);
}

void Object::set_strings(const std::string& name, std::span<const std::string> values) {
  const ApiLock lock;
  const auto pointers = pointers_to(values);
  write_attribute(id(), name, variable_string_type().get(), pointers.size(),
                  pointers.empty() ? nullptr : pointers.data(), place_);
}

void Object::set_integer(const std::string& name, std::int64_t value) {
  const ApiLock lock;
  write_attribute(id(), name, H5T_NATIVE_INT64, std::nullopt, &value, place_);
}

void Object::set_integers(const std::string& name, std::span<const std::int64_t> values) {
  const ApiLock lock;
  write_attribute(id(), name, H5T_NATIVE_INT64, values.size(), values.data(), place_);
}

void Object::set_number(const std::string& name, double value) {
  const ApiLock lock;
  write_attribute(id(), name, H5T_NATIVE_DOUBLE, std::nullopt, &value, place_);
}

void Object::set_numbers(const std::string& name, std::span<const double> values) {
  const ApiLock lock;
  write_attribute(id(), name, H5T_NATIVE_DOUBLE, values.size(), values.data(), place_);
}

}  // namespace vtissue::io::hdf5
