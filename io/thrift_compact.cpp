#include "io/thrift_compact.h"

#include <stdexcept>

namespace vtissue::io {
namespace {

constexpr int kDeepestHeader = 32;

ThriftReader::Type thrift_type(unsigned code) {
  if (code > static_cast<unsigned>(ThriftReader::Type::kUuid)) throw std::runtime_error("unknown type in a header");
  return static_cast<ThriftReader::Type>(code);
}

}  // namespace

std::uint8_t ThriftReader::byte() {
  if (at_ >= bytes_.size()) throw std::runtime_error("a header is cut off");
  return static_cast<std::uint8_t>(bytes_[at_++]);
}

std::uint64_t ThriftReader::varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const std::uint8_t part = byte();
    value |= std::uint64_t{part & 0x7fu} << shift;
    if ((part & 0x80) == 0) return value;
  }
  throw std::runtime_error("a number in a header is too long");
}

std::int64_t ThriftReader::zigzag() {
  const std::uint64_t value = varint();
  return static_cast<std::int64_t>((value >> 1) ^ (0 - (value & 1)));
}

void ThriftReader::take(std::uint64_t count) {
  if (count > bytes_.size() - at_) throw std::runtime_error("a header is cut off");
  at_ += count;
}

std::int64_t ThriftReader::read_integer(Type type) {
  switch (type) {
    case Type::kByte:
      return static_cast<std::int8_t>(byte());
    case Type::kI16:
    case Type::kI32:
    case Type::kI64:
      return zigzag();
    default:
      throw std::runtime_error("a header has another type where a number belongs");
  }
}

std::string ThriftReader::read_string() {
  const std::uint64_t length = varint();
  const std::size_t begin = at_;
  take(length);
  return {reinterpret_cast<const char*>(bytes_.data()) + begin, length};
}

void ThriftReader::read_struct(const std::function<bool(int id, Type type)>& field) {
  if (++depth_ > kDeepestHeader) throw std::runtime_error("headers are nested too deeply");
  std::int64_t id = 0;
  for (;;) {
    const std::uint8_t head = byte();
    if (head == 0) break;
    const Type type = thrift_type(head & 0x0fu);
    if (type == Type::kStop) throw std::runtime_error("a header is damaged");
    id = (head >> 4) != 0 ? id + (head >> 4) : zigzag();
    if (id < 0 || id > 32767) throw std::runtime_error("a header is damaged");
    if (!field(static_cast<int>(id), type)) skip(type);
  }
  --depth_;
}

void ThriftReader::read_list(Type element_type, const std::function<void()>& element) {
  const std::uint8_t head = byte();
  const std::uint64_t count = (head >> 4) == 15 ? varint() : head >> 4;
  if (count > 0 && thrift_type(head & 0x0fu) != element_type) {
    throw std::runtime_error("a list in a header has another type");
  }
  // An element has a byte at least.
  if (count > bytes_.size() - at_) throw std::runtime_error("a list in a header is cut off");
  for (std::uint64_t i = 0; i < count; ++i) element();
}

void ThriftReader::skip(Type type) {
  if (++depth_ > kDeepestHeader) throw std::runtime_error("headers are nested too deeply");
  // Booleans have their value in the type of a field, but a byte of their own in lists and maps.
  const auto skip_element = [&](Type element) {
    if (element == Type::kTrue || element == Type::kFalse) {
      byte();
    } else {
      skip(element);
    }
  };
  switch (type) {
    case Type::kStop:
      throw std::runtime_error("a header is damaged");
    case Type::kTrue:
    case Type::kFalse:
      break;
    case Type::kByte:
      byte();
      break;
    case Type::kI16:
    case Type::kI32:
    case Type::kI64:
      varint();
      break;
    case Type::kDouble:
      take(8);
      break;
    case Type::kUuid:
      take(16);
      break;
    case Type::kBinary:
      take(varint());
      break;
    case Type::kStruct:
      read_struct([](int, Type) { return false; });
      break;
    case Type::kList:
    case Type::kSet: {
      const std::uint8_t head = byte();
      const std::uint64_t count = (head >> 4) == 15 ? varint() : head >> 4;
      if (count > bytes_.size() - at_) throw std::runtime_error("a list in a header is cut off");
      for (std::uint64_t i = 0; i < count; ++i) skip_element(thrift_type(head & 0x0fu));
      break;
    }
    case Type::kMap: {
      const std::uint64_t count = varint();
      if (count > bytes_.size() - at_) throw std::runtime_error("a map in a header is cut off");
      const std::uint8_t types = count == 0 ? 0 : byte();
      for (std::uint64_t i = 0; i < count; ++i) {
        skip_element(thrift_type(types >> 4));
        skip_element(thrift_type(types & 0x0fu));
      }
      break;
    }
  }
  --depth_;
}

}  // namespace vtissue::io
