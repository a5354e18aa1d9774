#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace vtissue::io {

/// Reads Thrift's compact protocol (apache/thrift doc/specs/thrift-compact-protocol.md), in which Parquet writes its
/// headers: only what they use. Every count is checked against the bytes that are left. Throws std::runtime_error that
/// says what is wrong; the caller knows the file.
class ThriftReader {
 public:
  explicit ThriftReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  enum class Type {
    kStop,
    kTrue,
    kFalse,
    kByte,
    kI16,
    kI32,
    kI64,
    kDouble,
    kBinary,
    kList,
    kSet,
    kMap,
    kStruct,
    kUuid
  };

  /// Calls `field(id, type)` for every field of the struct at this place. A field that it leaves unread (returns false)
  /// is passed over.
  void read_struct(const std::function<bool(int id, Type type)>& field);
  /// Calls `element()` for each of the list's elements; it must read one. Throws if they are of another type.
  void read_list(Type element_type, const std::function<void()>& element);
  /// Of a field or element of type kByte, kI16, kI32 or kI64. Throws std::runtime_error for another type.
  std::int64_t read_integer(Type type);
  std::string read_string();
  /// Bytes used so far.
  std::size_t position() const { return at_; }

 private:
  std::uint8_t byte();
  std::uint64_t varint();
  std::int64_t zigzag();
  void skip(Type type);
  void take(std::uint64_t count);

  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace vtissue::io
