#include "core/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/mapped_file.h"

// The layout and the checks are those of formats.md 4.1: u64 header length, JSON header, buffer.
static_assert(std::endian::native == std::endian::little, "safetensors are little-endian and mapped as they are");

namespace vtissue {
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::string_view kMetadataKey = "__metadata__";

struct DtypeBits {
  std::string_view name;
  std::uint64_t bits;
};

constexpr std::array kDtypes = {
    DtypeBits{"BOOL", 8},    DtypeBits{"F4", 4},          DtypeBits{"F6_E2M3", 6},     DtypeBits{"F6_E3M2", 6},
    DtypeBits{"U8", 8},      DtypeBits{"I8", 8},          DtypeBits{"F8_E5M2", 8},     DtypeBits{"F8_E4M3", 8},
    DtypeBits{"F8_E8M0", 8}, DtypeBits{"F8_E4M3FNUZ", 8}, DtypeBits{"F8_E5M2FNUZ", 8}, DtypeBits{"I16", 16},
    DtypeBits{"U16", 16},    DtypeBits{"F16", 16},        DtypeBits{"BF16", 16},       DtypeBits{"I32", 32},
    DtypeBits{"U32", 32},    DtypeBits{"F32", 32},        DtypeBits{"C64", 64},        DtypeBits{"F64", 64},
    DtypeBits{"I64", 64},    DtypeBits{"U64", 64}};

std::optional<std::uint64_t> dtype_bits(std::string_view name) {
  const auto found = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const DtypeBits& d) { return d.name == name; });
  if (found == kDtypes.end()) return std::nullopt;
  return found->bits;
}

/// Bytes of a tensor; nothing if the count overflows or does not fill whole bytes.
std::optional<std::uint64_t> tensor_bytes(const std::vector<std::int64_t>& shape, std::uint64_t bits) {
  std::uint64_t product = 1;
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(product, static_cast<std::uint64_t>(extent), &product))
      return std::nullopt;
  }
  if (__builtin_mul_overflow(product, bits, &product) || product % 8 != 0) return std::nullopt;
  return product / 8;
}

std::string shape_text(const std::vector<std::int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

[[noreturn]] void refuse(const fs::path& path, std::string_view reason) {
  throw Error(ErrorCode::kModel, "{}: not a usable safetensors file: {}", path.string(), reason);
}

struct HeaderTensor {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::uint64_t> offsets;
};

/// Reads the header event by event: a parsed document would have lost duplicate keys, and a state for
/// each of the four places a value may stand bounds the depth whatever the file nests.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderHandler(const fs::path& path) : path_(path) {}

  std::vector<HeaderTensor> take_tensors() { return std::move(tensors_); }
  std::map<std::string, std::string> take_metadata() { return std::move(metadata_); }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_float(number_float_t, const string_t& text) override {
    return unexpected(fmt::format("{}, not an integer", text));
  }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_integer(number_integer_t value) override {
    return unexpected(fmt::format("the negative number {}", value));
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) {
      if (value > static_cast<number_unsigned_t>(INT64_MAX)) return unexpected(fmt::format("a dimension of {}", value));
      tensors_.back().shape.push_back(static_cast<std::int64_t>(value));
      return true;
    }
    if (place_ == Place::kOffsets) {
      tensors_.back().offsets.push_back(value);
      return true;
    }
    return unexpected(fmt::format("the number {}", value));
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      metadata_.at(key_) = std::move(value);
      return true;
    }
    if (place_ == Place::kTensor && key_ == "dtype") {
      tensors_.back().dtype = std::move(value);
      return true;
    }
    return unexpected(fmt::format("the string '{}'", value));
  }

  bool key(string_t& name) override {
    key_ = name;
    if (place_ == Place::kMetadata) {
      if (!metadata_.emplace(name, "").second) refuse(path_, fmt::format("metadata key '{}' occurs twice", name));
    } else if (place_ == Place::kTensor) {
      if (name != "dtype" && name != "shape" && name != "data_offsets") {
        refuse(path_, fmt::format("tensor '{}' has the unknown field '{}'", tensors_.back().name, name));
      }
      if (!fields_.insert(name).second) {
        refuse(path_, fmt::format("tensor '{}' has the field '{}' twice", tensors_.back().name, name));
      }
    } else if (!names_.insert(name).second) {
      refuse(path_, fmt::format("the name '{}' occurs twice", name));
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::kOutside) {
      place_ = Place::kNames;
    } else if (place_ == Place::kNames && key_ == kMetadataKey) {
      place_ = Place::kMetadata;
    } else if (place_ == Place::kNames) {
      place_ = Place::kTensor;
      fields_.clear();
      tensors_.push_back({.name = key_, .dtype = {}, .shape = {}, .offsets = {}});
    } else {
      return unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      for (const char* field : {"dtype", "shape", "data_offsets"}) {
        if (!fields_.contains(field)) refuse(path_, fmt::format("tensor '{}' has no {}", tensors_.back().name, field));
      }
    }
    place_ = place_ == Place::kNames ? Place::kOutside : Place::kNames;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::kTensor && key_ == "shape") {
      place_ = Place::kShape;
    } else if (place_ == Place::kTensor && key_ == "data_offsets") {
      place_ = Place::kOffsets;
    } else {
      return unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    refuse(path_, fmt::format("the header is not valid JSON near byte {} ({})", position, error.what()));
  }

 private:
  enum class Place { kOutside, kNames, kMetadata, kTensor, kShape, kOffsets };

  [[noreturn]] bool unexpected(std::string_view what) const {
    if (place_ == Place::kOutside) refuse(path_, fmt::format("the header is {}, not an object", what));
    const bool in_tensor = place_ != Place::kNames && place_ != Place::kMetadata;
    refuse(path_, in_tensor ? fmt::format("{} of tensor '{}' holds {}", key_, tensors_.back().name, what)
                            : fmt::format("'{}' holds {}", key_, what));
  }

  const fs::path& path_;
  Place place_ = Place::kOutside;
  std::string key_;
  std::set<std::string, std::less<>> names_;
  std::set<std::string, std::less<>> fields_;
  std::vector<HeaderTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// What a file that is something else looks like, to say so.
void refuse_other_formats(const fs::path& path, std::string_view start) {
  using namespace std::string_view_literals;
  if (start.starts_with("version https://git-lfs")) {
    refuse(path, "it is a git-lfs pointer; run 'git lfs pull' to get the weights themselves");
  }
  if (start.starts_with("PK\x03\x04"sv)) {
    refuse(path, "it is a zip archive, as PyTorch writes .pth files; give it that name");
  }
  // The length of a header may start like a pickle; the brace behind it does not.
  if (start.starts_with("\x80\x02"sv) && start.find('{') != 8) {
    refuse(path, "it is a Python pickle, as PyTorch wrote .pth files; give it that name");
  }
}

}  // namespace

struct SafetensorsFile::Impl {
  std::shared_ptr<const MappedFile> map;  // null for parse()
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;

  void read_header(std::span<const std::byte> bytes, const fs::path& path);
  void place_tensors(const fs::path& path, std::vector<HeaderTensor> tensors, std::span<const std::byte> buffer);
};

void SafetensorsFile::Impl::read_header(std::span<const std::byte> bytes, const fs::path& path) {
  if (bytes.size() < kLengthBytes) {
    refuse(path, fmt::format("{} bytes are too few; copy or download it again", bytes.size()));
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  refuse_other_formats(path, {text, std::min<std::size_t>(bytes.size(), 64)});
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length < 2) refuse(path, fmt::format("a header of {} bytes is too short", length));
  if (length > kMaxHeaderBytes) refuse(path, fmt::format("a header of {} bytes is over the limit of 100 MB", length));
  if (length > bytes.size() - kLengthBytes) {
    refuse(path,
           fmt::format("its header of {} bytes goes beyond the end of the file ({} bytes)", length, bytes.size()));
  }
  const std::string_view header(text + kLengthBytes, length);
  if (header.front() != '{') refuse(path, "the header does not begin with '{'");
  // The JSON library takes a NUL for the end of the text.
  if (header.find('\0') != std::string_view::npos) refuse(path, "the header holds a NUL byte");
  HeaderHandler handler(path);
  nlohmann::json::sax_parse(header.begin(), header.end(), &handler);
  metadata = handler.take_metadata();
  place_tensors(path, handler.take_tensors(), bytes.subspan(kLengthBytes + length));
}

void SafetensorsFile::Impl::place_tensors(const fs::path& path, std::vector<HeaderTensor> tensors,
                                          std::span<const std::byte> buffer) {
  for (const HeaderTensor& tensor : tensors) {
    if (tensor.offsets.size() != 2) {
      refuse(path, fmt::format("tensor '{}' has {} data_offsets, not 2", tensor.name, tensor.offsets.size()));
    }
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const HeaderTensor& a, const HeaderTensor& b) { return a.offsets < b.offsets; });
  std::uint64_t expected_begin = 0;
  for (HeaderTensor& tensor : tensors) {
    const std::uint64_t begin = tensor.offsets[0];
    const std::uint64_t end = tensor.offsets[1];
    if (begin != expected_begin || end < begin) {
      refuse(path, fmt::format("tensor '{}' has the bytes [{}, {}) but should begin at {}: a hole or an overlap",
                               tensor.name, begin, end, expected_begin));
    }
    if (end > buffer.size()) {
      refuse(path, fmt::format("tensor '{}' ends at byte {} of a buffer of {} bytes; the file is cut short",
                               tensor.name, end, buffer.size()));
    }
    const auto bits = dtype_bits(tensor.dtype);
    if (!bits) refuse(path, fmt::format("tensor '{}' has the unknown dtype '{}'", tensor.name, tensor.dtype));
    const auto bytes = tensor_bytes(tensor.shape, *bits);
    if (!bytes || *bytes != end - begin) {
      refuse(path, fmt::format("tensor '{}' of dtype {} and shape {} does not take {} bytes", tensor.name, tensor.dtype,
                               shape_text(tensor.shape), end - begin));
    }
    entries.push_back({.name = std::move(tensor.name),
                       .dtype = std::move(tensor.dtype),
                       .shape = std::move(tensor.shape),
                       .data = buffer.subspan(begin, end - begin)});
    expected_begin = end;
  }
  if (expected_begin != buffer.size()) {
    refuse(path, fmt::format("{} bytes after the last tensor belong to nothing", buffer.size() - expected_begin));
  }
  std::sort(entries.begin(), entries.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) { return a.name < b.name; });
}

SafetensorsFile::SafetensorsFile(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

SafetensorsFile SafetensorsFile::open(const fs::path& path) {
  auto impl = std::make_shared<Impl>();
  impl->map = MappedFile::open(path);
  impl->read_header(impl->map->bytes(), path);
  return SafetensorsFile(std::move(impl));
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, const fs::path& path) {
  auto impl = std::make_shared<Impl>();
  impl->read_header(bytes, path);
  return SafetensorsFile(std::move(impl));
}

const std::vector<SafetensorsEntry>& SafetensorsFile::entries() const { return impl_->entries; }

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = std::lower_bound(impl_->entries.begin(), impl_->entries.end(), name,
                                      [](const SafetensorsEntry& entry, std::string_view n) { return entry.name < n; });
  return found != impl_->entries.end() && found->name == name ? &*found : nullptr;
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const { return impl_->metadata; }

namespace {

/// Sorts the tensors as they will lie in the buffer and returns length and header, padded to 8.
std::string layout(std::vector<SafetensorsOutput>& tensors, const std::map<std::string, std::string>& metadata) {
  for (const SafetensorsOutput& tensor : tensors) {
    const auto bits = dtype_bits(tensor.dtype);
    if (!bits) throw Error(ErrorCode::kOutput, "tensor '{}': unknown dtype '{}'", tensor.name, tensor.dtype);
    const auto bytes = tensor_bytes(tensor.shape, *bits);
    if (!bytes || *bytes != tensor.data.size()) {
      throw Error(ErrorCode::kOutput, "tensor '{}': {} {} does not take {} bytes", tensor.name, tensor.dtype,
                  shape_text(tensor.shape), tensor.data.size());
    }
    if (tensor.name == kMetadataKey) throw Error(ErrorCode::kOutput, "no tensor may be named '{}'", kMetadataKey);
  }
  std::sort(tensors.begin(), tensors.end(), [](const SafetensorsOutput& a, const SafetensorsOutput& b) {
    const auto bits_a = *dtype_bits(a.dtype);
    const auto bits_b = *dtype_bits(b.dtype);
    return bits_a != bits_b ? bits_a > bits_b : a.name < b.name;
  });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  std::set<std::string_view> names;
  std::uint64_t begin = 0;
  for (const SafetensorsOutput& tensor : tensors) {
    if (!names.insert(tensor.name).second) throw Error(ErrorCode::kOutput, "two tensors are named '{}'", tensor.name);
    const std::uint64_t end = begin + tensor.data.size();
    header[tensor.name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::kOutput, "a tensor name or metadata is not UTF-8: {}", error.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  std::string result(kLengthBytes, '\0');
  std::memcpy(result.data(), &length, sizeof length);
  return result + text;
}

}  // namespace

std::vector<std::byte> serialize_safetensors(std::vector<SafetensorsOutput> tensors,
                                             const std::map<std::string, std::string>& metadata) {
  const std::string header = layout(tensors, metadata);
  const auto header_bytes = std::as_bytes(std::span(header));
  std::vector<std::byte> result(header_bytes.begin(), header_bytes.end());
  for (const SafetensorsOutput& tensor : tensors) result.insert(result.end(), tensor.data.begin(), tensor.data.end());
  return result;
}

void write_safetensors(const fs::path& path, std::vector<SafetensorsOutput> tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Streamed, since a training set would not fit into memory a second time.
  const fs::path temporary = temporary_name(path);
  try {
    const std::string header = layout(tensors, metadata);
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    if (!out) throw_output_error(temporary, "create", errno);
    out.write(header.data(), static_cast<std::streamsize>(header.size()));
    for (const SafetensorsOutput& tensor : tensors) {
      out.write(reinterpret_cast<const char*>(tensor.data.data()), static_cast<std::streamsize>(tensor.data.size()));
    }
    out.close();
    if (!out) throw_output_error(temporary, "write", errno);
    publish(temporary, path);
  } catch (Error& error) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    error.add("writing {}", path.string());
    throw;
  }
}

}  // namespace vtissue
