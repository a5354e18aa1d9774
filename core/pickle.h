#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vtissue {

/// A place in PickleDocument::values.
using PickleId = std::uint32_t;

/// One object of a pickle. Objects refer to each other by place, so a pickle may share them or build cycles without
/// anything here being owned twice.
struct PickleValue {
  enum class Kind : std::uint8_t {
    kNone,
    kBool,     ///< integer is 0 or 1
    kInteger,  ///< of 64 bits; longer ones are kText, in hexadecimal
    kFloat,
    kText,
    kBytes,    ///< text
    kTuple,    ///< items
    kList,     ///< items
    kDict,     ///< items: key, value, key, value; an OrderedDict as well
    kGlobal,   ///< text: "module.name", one of the allowed ones
    kStorage,  ///< integer: place in PickleDocument::storages
    kTensor    ///< integer: place in PickleDocument::tensors
  };
  Kind kind = Kind::kNone;
  std::int64_t integer = 0;
  double real = 0;
  std::string text;
  std::vector<PickleId> items;
};

/// A torch storage that the pickle refers to by a persistent id.
struct PickleStorage {
  std::string key;
  std::string_view dtype;  ///< safetensors' spelling; "" for an untyped one, whose elements are bytes
  std::uint64_t count = 0;
  std::size_t item_bytes = 1;
};

/// What torch._utils._rebuild_tensor_v2 was given; not yet checked against the storage.
struct PickleTensor {
  std::uint32_t storage = 0;  ///< place in PickleDocument::storages
  std::string_view dtype;
  std::size_t item_bytes = 1;
  std::int64_t offset = 0;  ///< in elements
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
};

struct PickleDocument {
  std::vector<PickleValue> values;
  std::vector<PickleStorage> storages;  ///< one a key
  std::vector<PickleTensor> tensors;
  PickleId root = 0;
  std::size_t bytes = 0;  ///< how many of the input were the pickle

  const PickleValue& at(PickleId id) const { return values[id]; }
};

/// Reads one pickle (protocols 2 to 5) as far as state dicts need it: plain containers, numbers, texts, and the few
/// globals of torch and collections that rebuild tensors (formats.md 4.2), which are understood here, never looked up
/// or called. Throws Error kModel that names `path` and the first opcode or global that is not among them; memory stays
/// within a constant factor of the pickle's length, whatever lengths it claims.
PickleDocument unpickle(std::span<const std::byte> bytes, const std::filesystem::path& path);

}  // namespace vtissue
