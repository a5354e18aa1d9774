#include "io/hdf5.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/hdf5_detail.h"
#include "io/hdf5_lzf.h"

namespace vtissue::io::hdf5 {
namespace fs = std::filesystem;

namespace {

std::recursive_mutex& api_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

/// HDF5's innermost message: the cause, not the chain of calls. For a failed write only the system's
/// words are kept, since HDF5 mixes addresses and the time into that one.
std::string innermost_reason() {
  std::string reason;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned n, const H5E_error2_t* error, void* out) -> herr_t {
        if (n == 0 && error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
        return 0;
      },
      &reason);
  constexpr std::string_view kSystemWords = "error message = '";
  if (const auto at = reason.find(kSystemWords); at != std::string::npos) {
    const auto begin = at + kSystemWords.size();
    reason = reason.substr(begin, reason.find('\'', begin) - begin);
  }
  return reason;
}

/// A dataset that cannot be read: names the compression this build lacks, else HDF5's reason.
[[noreturn]] void fail_unreadable(hid_t dataset, const Place& place) {
  const Handle list(H5Dget_create_plist(dataset), H5Pclose);
  const int filters = H5Pget_nfilters(list.get());
  for (int i = 0; i < filters; ++i) {
    std::array<char, 64> name{};
    std::size_t parameters = 0;
    unsigned flags = 0, configuration = 0;
    const H5Z_filter_t filter = H5Pget_filter2(list.get(), static_cast<unsigned>(i), &flags, &parameters, nullptr,
                                               name.size(), name.data(), &configuration);
    if (filter >= 0 && H5Zfilter_avail(filter) <= 0) {
      place.fail(
          fmt::format("is compressed by filter {} ({}), which is not available here; write the file again with gzip",
                      filter, name.data()));
    }
  }
  place.fail_with_reason("cannot be read");
}

/// Bytes of an element in the file. A string of variable length is stored as its length, the address of its heap and
/// its index there; H5Tget_size() tells the size of a pointer instead.
std::uint64_t stored_bytes(hid_t type) {
  constexpr std::uint64_t kVariableString = 4 + 8 + 4;
  return H5Tis_variable_str(type) > 0 ? kVariableString : H5Tget_size(type);
}

/// HDF5 takes a chunk for whole whatever a filter gives back, so LZF is told the size to check. The file may state it
/// too, but need not.
void prepare_lzf(hid_t dataset, const Place& place) {
  const Handle list(H5Dget_create_plist(dataset), H5Pclose);
  if (H5Pget_layout(list.get()) != H5D_CHUNKED) return;
  const int filters = H5Pget_nfilters(list.get());
  for (int i = 0; i < filters; ++i) {
    std::array<unsigned, 8> parameters{};
    std::size_t count = parameters.size();
    unsigned flags = 0, configuration = 0;
    if (H5Pget_filter2(list.get(), static_cast<unsigned>(i), &flags, &count, parameters.data(), 0, nullptr,
                       &configuration) != kLzfFilter) {
      continue;
    }
    std::array<hsize_t, H5S_MAX_RANK> chunk{};
    const int rank = H5Pget_chunk(list.get(), H5S_MAX_RANK, chunk.data());
    const Handle type(H5Dget_type(dataset), H5Tclose);
    std::vector<std::uint64_t> factors(chunk.begin(), chunk.begin() + std::max(rank, 0));
    factors.push_back(stored_bytes(type.get()));
    const unsigned stated = count < 3 ? 0 : parameters[2];
    if (stated != 0 && stated != product(factors)) {
      place.fail(
          fmt::format("is compressed by LZF for chunks of {} bytes, but its chunks have {}; the file is damaged, "
                      "copy or make it again",
                      stated, product(factors)));
    }
    set_lzf_chunk_bytes(product(factors));
  }
}

Handle file_access_list() {
  Handle list = property_list(H5P_FILE_ACCESS);
  H5Pset_libver_bounds(list.get(), H5F_LIBVER_V18, H5F_LIBVER_V18);
#if H5_VERSION_GE(1, 10, 7) && !(H5_VERS_MAJOR == 1 && H5_VERS_MINOR == 12 && H5_VERS_RELEASE == 0)
  // Files appear under their names whole and have one writer, so locks only bring the failures of network file systems.
  H5Pset_file_locking(list.get(), false, true);
#endif
  return list;
}

}  // namespace

ApiLock::ApiLock() : lock_(api_mutex()) {
  // At exit HDF5 would flush once more what it could not write (disk full) and may crash on it. All
  // handles here are closed by their owners, so its clean-up is not needed.
  static const bool initialized = [] {
    H5dont_atexit();
    const bool open = H5open() >= 0;
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    register_lzf_decoder();
    return open;
  }();
  static_cast<void>(initialized);
  thread_local const bool silent = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
  static_cast<void>(silent);
}

bool Handle::close() {
  if (id_ < 0) return true;
  const ApiLock lock;
  return closer_(std::exchange(id_, H5I_INVALID_HID)) >= 0;
}

Place Place::child(std::string_view name) const {
  Place place = *this;
  if (!place.object.empty()) place.object += '/';
  place.object += name;
  return place;
}

void Place::fail(std::string_view what) const {
  if (object.empty()) throw Error(code, "{}: {}", file, what);
  throw Error(code, "{}: {}: {}", file, object, what);
}

void Place::fail_with_reason(std::string_view what) const {
  const std::string reason = innermost_reason();
  std::string text(what);
  if (!reason.empty()) text += " (" + reason + ")";
  text += code == ErrorCode::kOutput ? "; check the free space and the permissions of the folder"
                                     : "; the file may be damaged or cut off, copy or make it again";
  fail(text);
}

template <>
hid_t native_type<float>() {
  return H5T_NATIVE_FLOAT;
}
template <>
hid_t native_type<double>() {
  return H5T_NATIVE_DOUBLE;
}
template <>
hid_t native_type<std::int8_t>() {
  return H5T_NATIVE_INT8;
}
template <>
hid_t native_type<std::uint8_t>() {
  return H5T_NATIVE_UINT8;
}
template <>
hid_t native_type<std::int32_t>() {
  return H5T_NATIVE_INT32;
}
template <>
hid_t native_type<std::int64_t>() {
  return H5T_NATIVE_INT64;
}

Dataset::Dataset(Handle handle, Place place) : Object(std::move(handle), std::move(place)) {
  const ApiLock lock;
  const Handle type(H5Dget_type(id()), H5Tclose);
  const Handle space(H5Dget_space(id()), H5Sclose);
  if (!type || !space) place_.fail_with_reason("type or shape cannot be read");
  kind_ = kind_of(type.get());
  element_bytes_ = std::max<std::uint64_t>(1, H5Tget_size(type.get()));
  if (H5Sget_simple_extent_type(space.get()) == H5S_NULL) {
    shape_ = {0};
  } else {
    shape_ = shape_of(space.get());
  }
}

std::uint64_t Dataset::elements() const { return product(shape_); }

std::uint64_t Dataset::chunk_rows() const {
  const ApiLock lock;
  const Handle list(H5Dget_create_plist(id()), H5Pclose);
  std::vector<hsize_t> chunk(std::max<std::size_t>(shape_.size(), 1));
  if (H5Pget_layout(list.get()) != H5D_CHUNKED) return 0;
  return H5Pget_chunk(list.get(), static_cast<int>(chunk.size()), chunk.data()) > 0 ? chunk[0] : 0;
}

void Dataset::require_numbers() const {
  if (kind_ == TypeKind::kString || kind_ == TypeKind::kCompound || kind_ == TypeKind::kOther) {
    place_.fail("does not hold numbers");
  }
}

void Dataset::require_plausible() const {
  const ApiLock lock;
  // Compression gains at most a factor of 1032 with deflate; a header that claims far more is lying. What was never
  // written takes no room and is read as fill values.
  constexpr std::uint64_t kBestCompression = 1100;
  const std::uint64_t stored = H5Dget_storage_size(id());
  const std::uint64_t most = std::min(stored, place_.file_bytes) * kBestCompression + (1 << 20);
  if (product(std::array{elements(), element_bytes_}) > most) {
    place_.fail(fmt::format("claims {} elements of {} bytes, more than the {} bytes it has in a file of {} can hold",
                            elements(), element_bytes_, stored, place_.file_bytes));
  }
}

void Dataset::require_shape(std::span<const std::uint64_t> shape) const {
  if (std::ranges::equal(shape_, shape)) return;
  place_.fail(fmt::format("has shape [{}], expected [{}]", fmt::join(shape_, ", "), fmt::join(shape, ", ")));
}

std::pair<Handle, Handle> Dataset::select_rows(std::uint64_t first, std::uint64_t count, std::size_t axis) const {
  if (first > shape_.at(axis) || count > shape_[axis] - first) {
    place_.fail(fmt::format("rows {} to {} of {} asked for", first, first + count, shape_[axis]));
  }
  std::vector<hsize_t> start(shape_.size(), 0), extent(shape_.begin(), shape_.end());
  start[axis] = first;
  extent[axis] = count;
  Handle memory(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
  Handle file(H5Dget_space(id()), H5Sclose);
  H5Sselect_hyperslab(file.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr);
  return {std::move(memory), std::move(file)};
}

void Dataset::read_block(hid_t memory_type, std::uint64_t first, std::uint64_t count, void* out,
                         std::size_t axis) const {
  const ApiLock lock;
  prepare_lzf(id(), place_);
  herr_t status = 0;
  if (shape_.empty()) {
    status = H5Dread(id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out);
  } else if (count > 0 && elements() > 0) {
    const auto [memory, file] = select_rows(first, count, axis);
    status = H5Dread(id(), memory_type, memory.get(), file.get(), H5P_DEFAULT, out);
  }
  if (status < 0) fail_unreadable(id(), place_);
}

std::vector<std::string> Dataset::read_strings() const {
  const ApiLock lock;
  if (kind_ != TypeKind::kString) place_.fail("does not hold strings");
  require_plausible();
  prepare_lzf(id(), place_);
  const Handle type(H5Dget_type(id()), H5Tclose);
  const Handle space(H5Dget_space(id()), H5Sclose);
  return read_string_values(type.get(), space.get(), elements(), place_, [&](hid_t memory_type, void* out) {
    const herr_t status = H5Dread(id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out);
    if (status < 0) fail_unreadable(id(), place_);
    return status;
  });
}

void Dataset::write_block(hid_t memory_type, std::uint64_t first, std::uint64_t count, const void* values) {
  const ApiLock lock;
  herr_t status = 0;
  if (shape_.empty()) {
    status = H5Dwrite(id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  } else if (count > 0 && elements() > 0) {
    const auto [memory, file] = select_rows(first, count, 0);
    status = H5Dwrite(id(), memory_type, memory.get(), file.get(), H5P_DEFAULT, values);
  }
  if (status < 0) place_.fail_with_reason("cannot be written");
}

Group::Child Group::child(const std::string& name) const {
  const ApiLock lock;
  // H5Lexists wants every part of a path to exist, so the path is walked.
  for (std::size_t end = name.find('/');; end = name.find('/', end + 1)) {
    const std::string part = name.substr(0, end);
    if (H5Lexists(id(), part.c_str(), H5P_DEFAULT) <= 0) return Child::kNone;
    if (H5Oexists_by_name(id(), part.c_str(), H5P_DEFAULT) <= 0) return Child::kNone;
    if (end == std::string::npos) break;
  }
  const Handle object(H5Oopen(id(), name.c_str(), H5P_DEFAULT), H5Oclose);
  switch (H5Iget_type(object.get())) {
    case H5I_GROUP:
      return Child::kGroup;
    case H5I_DATASET:
      return Child::kDataset;
    default:
      return Child::kOther;
  }
}

std::vector<std::string> Group::children() const {
  const ApiLock lock;
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  hsize_t position = 0;
  if (H5Literate(id(), H5_INDEX_NAME, H5_ITER_INC, &position, collect, &names) < 0) {
    place_.fail_with_reason("its entries cannot be listed");
  }
  std::ranges::sort(names);
  return names;
}

Group Group::group(const std::string& name) const {
  const ApiLock lock;
  const Place place = place_.child(name);
  if (child(name) == Child::kNone) place.fail("is missing");
  Handle handle(H5Gopen2(id(), name.c_str(), H5P_DEFAULT), H5Gclose);
  if (!handle) place.fail("is not a group");
  return {std::move(handle), place};
}

Dataset Group::dataset(const std::string& name) const {
  const ApiLock lock;
  const Place place = place_.child(name);
  if (child(name) == Child::kNone) place.fail("is missing");
  Handle handle(H5Dopen2(id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!handle) place.fail("is not a dataset");
  return {std::move(handle), place};
}

Group Group::create_group(const std::string& name) {
  const ApiLock lock;
  const Handle list = property_list(H5P_GROUP_CREATE);
  make_deterministic(list.get());
  Handle handle(H5Gcreate2(id(), name.c_str(), H5P_DEFAULT, list.get(), H5P_DEFAULT), H5Gclose);
  if (!handle) place_.child(name).fail_with_reason("cannot be created");
  return {std::move(handle), place_.child(name)};
}

Dataset Group::create_dataset(const std::string& name, hid_t type, std::span<const std::uint64_t> shape,
                              std::span<const std::uint64_t> chunk) {
  const ApiLock lock;
  const Handle creation = property_list(H5P_DATASET_CREATE);
  const Handle access = property_list(H5P_DATASET_ACCESS);
  make_deterministic(creation.get());
  const std::vector<hsize_t> extent(shape.begin(), shape.end());
  if (!chunk.empty() && product(shape) > 0) {
    const std::vector<hsize_t> chunk_extent(chunk.begin(), chunk.end());
    H5Pset_chunk(creation.get(), static_cast<int>(chunk_extent.size()), chunk_extent.data());
    H5Pset_chunk_cache(access.get(), 521, 2 * product(chunk) * H5Tget_size(type), 1.0);
  }
  const Handle space(
      shape.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr),
      H5Sclose);
  Handle handle(H5Dcreate2(id(), name.c_str(), type, space.get(), H5P_DEFAULT, creation.get(), access.get()), H5Dclose);
  if (!handle) place_.child(name).fail_with_reason("cannot be created");
  return {std::move(handle), place_.child(name)};
}

Dataset Group::create_growable_dataset(const std::string& name, hid_t type, std::span<const std::uint64_t> shape,
                                       std::uint64_t chunk_rows) {
  const ApiLock lock;
  const Handle creation = property_list(H5P_DATASET_CREATE);
  const Handle access = property_list(H5P_DATASET_ACCESS);
  make_deterministic(creation.get());
  const std::vector<hsize_t> extent(shape.begin(), shape.end());
  std::vector<hsize_t> most = extent, chunk = extent;
  most[0] = H5S_UNLIMITED;
  chunk[0] = std::max<std::uint64_t>(chunk_rows, 1);
  const std::uint64_t row_values = shape[0] == 0 ? 1 : product(shape) / shape[0];
  H5Pset_chunk(creation.get(), static_cast<int>(chunk.size()), chunk.data());
  H5Pset_chunk_cache(access.get(), 521, 2 * chunk[0] * row_values * H5Tget_size(type), 1.0);
  const Handle space(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), most.data()), H5Sclose);
  Handle handle(H5Dcreate2(id(), name.c_str(), type, space.get(), H5P_DEFAULT, creation.get(), access.get()), H5Dclose);
  if (!handle) place_.child(name).fail_with_reason("cannot be created");
  return {std::move(handle), place_.child(name)};
}

Dataset Group::write_strings(const std::string& name, std::span<const std::string> values) {
  const ApiLock lock;
  const Handle type = variable_string_type();
  const std::array<std::uint64_t, 1> shape{values.size()};
  Dataset dataset = create_dataset(name, type.get(), shape);
  const auto pointers = pointers_to(values);
  dataset.write_block(type.get(), 0, values.size(), pointers.data());
  return dataset;
}

Dataset Group::write_string(const std::string& name, std::string_view value) {
  const ApiLock lock;
  const Handle type = variable_string_type();
  Dataset dataset = create_dataset(name, type.get(), {});
  const std::string text(value);
  const char* pointer = text.c_str();
  dataset.write_block(type.get(), 0, 0, &pointer);
  return dataset;
}

Dataset Group::write_bools(const std::string& name, std::span<const std::uint8_t> values) {
  const ApiLock lock;
  const Handle type(H5Tenum_create(H5T_NATIVE_INT8), H5Tclose);
  for (const auto& [member, value] : {std::pair<const char*, std::int8_t>{"FALSE", 0}, {"TRUE", 1}}) {
    H5Tenum_insert(type.get(), member, &value);
  }
  const std::array<std::uint64_t, 1> shape{values.size()};
  Dataset dataset = create_dataset(name, type.get(), shape);
  const std::vector<std::int8_t> bytes(values.begin(), values.end());
  dataset.write_block(type.get(), 0, bytes.size(), bytes.data());
  return dataset;
}

File::File(Handle handle, fs::path path, Place place, bool unfinished)
    : handle_(std::move(handle)), path_(std::move(path)), place_(std::move(place)), unfinished_(unfinished) {}

File::File(File&& other) noexcept
    : handle_(std::move(other.handle_)),
      path_(std::move(other.path_)),
      place_(std::move(other.place_)),
      unfinished_(std::exchange(other.unfinished_, false)) {}

File::~File() {
  handle_.close();
  if (!unfinished_) return;
  std::error_code ignored;
  fs::remove(path_, ignored);
}

File File::open(const fs::path& path, const fs::path& shown_as) {
  const ApiLock lock;
  Place place{(shown_as.empty() ? path : shown_as).string(), "", ErrorCode::kBadInput};
  std::error_code error;
  if (!fs::exists(path, error)) place.fail("no such file");
  if (!fs::is_regular_file(path, error)) place.fail("is not a file");
  place.file_bytes = fs::file_size(path, error);
  if (!has_signature(path)) place.fail("is not an HDF5 file");
  const Handle access = file_access_list();
  Handle handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  if (!handle) place.fail_with_reason("cannot be opened as HDF5");
  return {std::move(handle), path, std::move(place), false};
}

File File::create(const fs::path& path) {
  const ApiLock lock;
  Place place{path.string(), "", ErrorCode::kOutput};
  const Handle access = file_access_list();
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  const Handle creation = property_list(H5P_FILE_CREATE);
  make_deterministic(creation.get());
  Handle handle(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose);
  if (!handle) {
    std::error_code error;
    // A full disk may leave an empty file behind.
    if (fs::is_regular_file(path, error) && fs::file_size(path, error) == 0) fs::remove(path, error);
    place.fail_with_reason("cannot be created");
  }
  return {std::move(handle), path, std::move(place), true};
}

File File::append(const fs::path& path) {
  const ApiLock lock;
  Place place{path.string(), "", ErrorCode::kOutput};
  const Handle access = file_access_list();
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  Handle handle(H5Fopen(path.c_str(), H5F_ACC_RDWR, access.get()), H5Fclose);
  if (!handle) place.fail_with_reason("cannot be opened to add to it");
  return {std::move(handle), path, std::move(place), false};
}

Group File::root() const {
  const ApiLock lock;
  Handle handle(H5Gopen2(handle_.get(), "/", H5P_DEFAULT), H5Gclose);
  if (!handle) place_.fail_with_reason("has no root group");
  return {std::move(handle), place_};
}

void File::close() {
  const ApiLock lock;
  // The flush comes first: a failed H5Fclose leaves nothing that could be asked for the reason.
  if (H5Fflush(handle_.get(), H5F_SCOPE_GLOBAL) < 0) place_.fail_with_reason("cannot be written to the disk");
  if (!handle_.close()) place_.fail_with_reason("cannot be closed");
  unfinished_ = false;
}

bool has_signature(const fs::path& path) {
  constexpr std::array<char, 8> kSignature{'\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n'};
  std::array<char, 8> head{};
  std::ifstream stream(path, std::ios::binary);
  return stream.read(head.data(), head.size()) && head == kSignature;
}

void write_format(Group& root, std::string_view format, std::int64_t version) {
  root.set_string("format", format);
  root.set_integer("format_version", version);
}

std::string read_settings(const Group& root) {
  std::string text = root.string_attribute("settings").value_or("{}");
  if (!nlohmann::json::parse(text, nullptr, false).is_object()) {
    root.place().fail("attribute 'settings' is no JSON object");
  }
  return text;
}

void require_format(const Group& root, std::string_view format, std::int64_t version, std::string_view made_by) {
  const auto found = root.string_attribute("format");
  if (found != format) {
    root.place().fail(
        fmt::format("is not a {} store (format '{}'); make one with '{}'", format, found.value_or("none"), made_by));
  }
  const std::int64_t found_version = root.required_integer("format_version");
  if (found_version != version) {
    root.place().fail(fmt::format("has version {} of the {} format, this program reads {}; make it again with '{}'",
                                  found_version, format, version, made_by));
  }
}

}  // namespace vtissue::io::hdf5
