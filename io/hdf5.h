#pragma once

// Thin RAII over HDF5's C API, for the stores of io/ alone: no header outside io/ includes it.

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace vtissue::io::hdf5 {

/// Held around every call of the library: one lock for the process, so that a build of HDF5 without
/// thread safety serves as well; switches the error printing off for the calling thread. Re-entrant.
class ApiLock {
 public:
  ApiLock();

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

/// An HDF5 identifier and the call that closes it. Move-only.
class Handle {
 public:
  using Closer = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Closer closer) : id_(id), closer_(closer) {}
  ~Handle() { close(); }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), closer_(other.closer_) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) {
      close();
      id_ = std::exchange(other.id_, H5I_INVALID_HID);
      closer_ = other.closer_;
    }
    return *this;
  }
  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }
  /// False if HDF5 reports an error; the identifier is given up in any case.
  bool close();

 private:
  hid_t id_ = H5I_INVALID_HID;
  Closer closer_ = nullptr;
};

/// Where an object is, for messages, and what a failure there means.
struct Place {
  std::string file;
  std::string object;             ///< path inside the file; empty for the root
  ErrorCode code;                 ///< kBadInput when reading, kOutput when writing
  std::uintmax_t file_bytes = 0;  ///< when reading: bounds what a dataset may claim to hold

  Place child(std::string_view name) const;
  /// Throws Error "file: object: what".
  [[noreturn]] void fail(std::string_view what) const;
  /// The same with HDF5's own reason. To be called under the ApiLock of the failing call.
  [[noreturn]] void fail_with_reason(std::string_view what) const;
};

enum class TypeKind { kInteger, kFloat, kBool, kString, kCompound, kOther };

/// H5T_NATIVE_… of float, double, and the integers of 8, 32 and 64 bits.
template <typename T>
hid_t native_type();

/// A group or dataset: attributes.
class Object {
 public:
  const Place& place() const { return place_; }
  hid_t id() const { return handle_.get(); }

  /// Absent: nothing. Of another type: Error.
  std::optional<std::string> string_attribute(const std::string& name) const;
  std::optional<std::vector<std::string>> strings_attribute(const std::string& name) const;
  std::optional<std::vector<std::int64_t>> integers_attribute(const std::string& name) const;
  std::optional<std::vector<double>> numbers_attribute(const std::string& name) const;
  /// The same, but absence is an Error too.
  std::string required_string(const std::string& name) const;
  std::int64_t required_integer(const std::string& name) const;
  double required_number(const std::string& name) const;

  void set_string(const std::string& name, std::string_view value);
  void set_strings(const std::string& name, std::span<const std::string> values);
  void set_integer(const std::string& name, std::int64_t value);
  void set_integers(const std::string& name, std::span<const std::int64_t> values);
  void set_number(const std::string& name, double value);
  void set_numbers(const std::string& name, std::span<const double> values);

 protected:
  Object(Handle handle, Place place) : handle_(std::move(handle)), place_(std::move(place)) {}
  Handle handle_;
  Place place_;
};

class Dataset : public Object {
 public:
  Dataset(Handle handle, Place place);

  const std::vector<std::uint64_t>& shape() const { return shape_; }  ///< empty: a scalar
  std::uint64_t elements() const;
  TypeKind kind() const { return kind_; }
  /// Rows (axis 0) of a chunk; 0 if not chunked.
  std::uint64_t chunk_rows() const;

  /// The whole of it, converted by HDF5 to T. Numbers only.
  template <typename T>
  std::vector<T> read() const {
    require_numbers();
    require_plausible();
    std::vector<T> values(elements());
    read_block(native_type<T>(), 0, shape_.empty() ? 0 : shape_[0], values.data());
    return values;
  }
  /// Rows [first, first + count) of `axis`, all there is of the others; `out` holds them.
  template <typename T>
  void read_rows(std::uint64_t first, std::uint64_t count, T* out, std::size_t axis = 0) const {
    read_block(native_type<T>(), first, count, out, axis);
  }
  /// Variable-length or fixed strings, row-major; a scalar gives one.
  std::vector<std::string> read_strings() const;

  template <typename T>
  void write_rows(std::uint64_t first, std::uint64_t count, const T* values) {
    write_block(native_type<T>(), first, count, values);
  }
  void write_block(hid_t memory_type, std::uint64_t first, std::uint64_t count, const void* values);

  /// Error if its elements' bytes are more than a file of this size can hold: checked before memory is allocated.
  void require_plausible() const;
  /// Error unless the shape is as given.
  void require_shape(std::span<const std::uint64_t> shape) const;

 private:
  void require_numbers() const;
  void read_block(hid_t memory_type, std::uint64_t first, std::uint64_t count, void* out, std::size_t axis = 0) const;
  /// Data spaces that select rows of an axis: of memory, of the file.
  std::pair<Handle, Handle> select_rows(std::uint64_t first, std::uint64_t count, std::size_t axis) const;
  std::vector<std::uint64_t> shape_;
  std::uint64_t element_bytes_ = 1;  ///< of the file's type
  TypeKind kind_ = TypeKind::kOther;
};

class Group : public Object {
 public:
  Group(Handle handle, Place place) : Object(std::move(handle), std::move(place)) {}

  enum class Child { kNone, kGroup, kDataset, kOther };
  /// `name` may be a path; a broken link counts as kNone.
  Child child(const std::string& name) const;
  bool has_group(const std::string& name) const { return child(name) == Child::kGroup; }
  bool has_dataset(const std::string& name) const { return child(name) == Child::kDataset; }
  /// Names in alphabetical order.
  std::vector<std::string> children() const;
  /// Error if there is none.
  Group group(const std::string& name) const;
  Dataset dataset(const std::string& name) const;

  // Writing. Objects carry no times; a dataset without `chunk` is contiguous.
  Group create_group(const std::string& name);
  Dataset create_dataset(const std::string& name, hid_t type, std::span<const std::uint64_t> shape,
                         std::span<const std::uint64_t> chunk = {});
  /// Chunked by `chunk_rows` rows, with no limit to its rows: what programs that add rows to a dataset want.
  Dataset create_growable_dataset(const std::string& name, hid_t type, std::span<const std::uint64_t> shape,
                                  std::uint64_t chunk_rows);
  template <typename T>
  Dataset write(const std::string& name, std::span<const std::uint64_t> shape, std::span<const T> values) {
    Dataset dataset = create_dataset(name, native_type<T>(), shape);
    if (!values.empty()) dataset.write_rows(0, shape.empty() ? 0 : shape[0], values.data());
    return dataset;
  }
  /// Variable-length UTF-8, [n].
  Dataset write_strings(const std::string& name, std::span<const std::string> values);
  /// Variable-length UTF-8, scalar.
  Dataset write_string(const std::string& name, std::string_view value);
  /// [n] as h5py's enumeration FALSE = 0, TRUE = 1.
  Dataset write_bools(const std::string& name, std::span<const std::uint8_t> values);
};

/// An open file. Bytes of a written file depend on nothing but what is written and in which order.
class File {
 public:
  /// Read-only. Throws Error kBadInput: missing, not HDF5, cut off. Messages name `shown_as` instead
  /// of `path` if it is given (an inflated copy).
  static File open(const std::filesystem::path& path, const std::filesystem::path& shown_as = {});
  /// Replaces what is there. Throws Error kOutput.
  static File create(const std::filesystem::path& path);
  /// Opens a finished file to add to it. Throws Error kOutput.
  static File append(const std::filesystem::path& path);
  /// A created file that was not close()d is removed.
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&&) = delete;

  Group root() const;
  /// Flushes and closes; throws Error kOutput if either fails. Objects of the file are closed with it.
  void close();

 private:
  File(Handle handle, std::filesystem::path path, Place place, bool unfinished);
  Handle handle_;
  std::filesystem::path path_;
  Place place_;
  bool unfinished_;
};

/// Begins with HDF5's magic bytes.
bool has_signature(const std::filesystem::path& path);

/// Root attributes "format" and "format_version" of the project's own stores.
void write_format(Group& root, std::string_view format, std::int64_t version);
/// Root attribute "settings" of a store: what the stage that wrote it was set to, a JSON object; "{}" where there is
/// none. Error kBadInput if it is something else.
std::string read_settings(const Group& root);
/// Error kBadInput if the file has another format, or a version other than `version`. `made_by`: the
/// command that writes such a file, for the remedy.
void require_format(const Group& root, std::string_view format, std::int64_t version, std::string_view made_by);

}  // namespace vtissue::io::hdf5
