#include "core/torch_file.h"

#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/mapped_file.h"
#include "core/pickle.h"
#include "core/zip_archive.h"

namespace vtissue {
namespace fs = std::filesystem;

/// A tensor's place in its storage, in elements.
struct TorchGeometry {
  std::size_t storage = 0;
  std::size_t item_bytes = 1;
  std::size_t offset = 0;
  std::vector<std::int64_t> shape, strides;
};

namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kPickleEntry = "data.pkl";
constexpr std::string_view kZipStart{"PK\x03\x04", 4};
constexpr std::string_view kLegacyMagic = "1950a86a20f9469cfc6c";
constexpr std::int64_t kLegacyProtocol = 1001;
constexpr std::size_t kMaxDepth = 64;
/// What containers that share their members could otherwise multiply without end.
constexpr std::size_t kMaxMembers = 10'000'000;
constexpr std::size_t kMaxNameBytes = 64'000'000;
constexpr std::size_t kMaxValueText = 200;
/// An expanded tensor (stride 0) may be larger than its storage, within reason.
constexpr std::uint64_t kMaxExpandedBytes = 1ULL << 28;

[[noreturn]] void refuse_torch(const fs::path& path, std::string_view reason) {
  throw Error(ErrorCode::kModel, "{}: not a usable PyTorch checkpoint: {}", path.string(), reason);
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool is_row_major(const TorchGeometry& g) {
  std::int64_t expected = 1;
  for (std::size_t i = g.shape.size(); i-- > 0;) {
    if (g.shape[i] != 1 && g.strides[i] != expected) return false;
    expected *= g.shape[i];
  }
  return true;
}

/// Row-major values of a strided tensor that lies within `storage`.
void gather(const TorchGeometry& g, std::span<const std::byte> storage, std::span<std::byte> out) {
  if (out.empty()) return;
  // The innermost dimensions that lie as they should are copied in one piece.
  std::size_t outer = g.shape.size();
  std::int64_t block = 1;
  while (outer > 0 && (g.shape[outer - 1] == 1 || g.strides[outer - 1] == block)) block *= g.shape[--outer];
  const std::size_t block_bytes = static_cast<std::size_t>(block) * g.item_bytes;
  std::vector<std::int64_t> index(outer, 0);
  std::int64_t at = static_cast<std::int64_t>(g.offset);
  for (std::size_t written = 0; written < out.size(); written += block_bytes) {
    std::memcpy(out.data() + written, storage.data() + static_cast<std::size_t>(at) * g.item_bytes, block_bytes);
    for (std::size_t i = outer; i-- > 0;) {
      at += g.strides[i];
      if (++index[i] < g.shape[i]) break;
      at -= g.strides[i] * g.shape[i];
      index[i] = 0;
    }
  }
}

}  // namespace

struct TorchFile::Impl {
  fs::path path;
  std::shared_ptr<const MappedFile> map;  // null for parse()
  std::optional<ZipArchive> zip;
  std::string prefix;  // of the zip's entries, "archive/"
  PickleDocument document;
  std::vector<std::span<const std::byte>> storages;
  std::vector<std::string> storage_names;     // entries of the zip
  std::unique_ptr<std::once_flag[]> checked;  // a storage each
  std::vector<TorchTensor> tensors;
  std::vector<TorchGeometry> geometries;
  std::vector<TorchValue> values;
  std::vector<std::string> groups;

  void read(std::span<const std::byte> bytes);
  void read_zip(std::span<const std::byte> bytes);
  void read_legacy(std::span<const std::byte> bytes);
  void read_legacy_storages(std::span<const std::byte> bytes);
  void place_in_zip();

  std::span<const std::byte> storage_of(const TorchGeometry& geometry) const;

  // Walking the containers.
  void collect(PickleId id, const std::string& name, std::size_t depth);
  void collect_dict(const PickleValue& dict, const std::string& name, std::size_t depth);
  void add_tensor(const PickleTensor& tensor, const std::string& name);
  void count_member(std::size_t name_bytes);
  void sort();
  std::size_t members = 0;
  std::size_t name_bytes = 0;
};

void TorchFile::Impl::read(std::span<const std::byte> bytes) {
  const std::string_view start = as_text(bytes.first(std::min<std::size_t>(bytes.size(), 64)));
  if (bytes.empty()) refuse_torch(path, "the file is empty; copy or download it again");
  if (start.starts_with("version https://git-lfs")) {
    refuse_torch(path, "it is a git-lfs pointer; run 'git lfs pull' to get the weights themselves");
  }
  if (start.starts_with(kZipStart)) {
    read_zip(bytes);
  } else if (start.starts_with('\x80')) {
    read_legacy(bytes);
  } else {
    refuse_torch(path, "it starts neither like a zip archive nor like a pickle; is it the weights file?");
  }
  collect(document.root, "", 0);
  sort();
}

void TorchFile::Impl::read_zip(std::span<const std::byte> bytes) {
  zip.emplace(bytes, path);
  std::string pickle;
  for (const auto& [name, entry] : zip->entries()) {
    const std::size_t slash = name.rfind('/');
    const std::string_view file = std::string_view(name).substr(slash == std::string::npos ? 0 : slash + 1);
    if (name.find("/code/") != std::string::npos || name.starts_with("code/")) {
      refuse_torch(path, "it is a TorchScript archive; in Python, save the state_dict of the loaded module");
    }
    if (file != kPickleEntry || name.find('/') != slash) continue;
    if (!pickle.empty()) refuse_torch(path, fmt::format("it has both {} and {}", pickle, name));
    pickle = name;
  }
  if (pickle.empty()) refuse_torch(path, fmt::format("the zip archive has no {}", kPickleEntry));
  prefix = pickle.substr(0, pickle.size() - kPickleEntry.size());
  if (zip->find(prefix + "byteorder") != nullptr) {
    const std::string_view order = as_text(zip->checked(prefix + "byteorder"));
    if (order != "little") {
      refuse_torch(path, fmt::format("its byte order is '{}', not 'little'; save it again on a little-endian machine",
                                     order.substr(0, 16)));
    }
  }
  document = unpickle(zip->checked(pickle), path);
  place_in_zip();
}

void TorchFile::Impl::place_in_zip() {
  for (const PickleStorage& storage : document.storages) {
    const std::string name = prefix + "data/" + storage.key;
    const ZipArchive::Entry* entry = zip->find(name);
    if (entry == nullptr) refuse_torch(path, fmt::format("the zip archive has no entry '{}'", name));
    const std::size_t bytes = entry->data.size();
    if (bytes % storage.item_bytes != 0 || bytes / storage.item_bytes != storage.count) {
      refuse_torch(path, fmt::format("the entry '{}' has {} bytes, not those of {} elements of {}", name, bytes,
                                     storage.count, storage.dtype.empty() ? "one byte" : storage.dtype));
    }
    storages.push_back(entry->data);
    storage_names.push_back(name);
  }
  checked = std::make_unique<std::once_flag[]>(storages.size());
}

void TorchFile::Impl::read_legacy(std::span<const std::byte> bytes) {
  const auto next = [&] {
    PickleDocument result = unpickle(bytes, path);
    bytes = bytes.subspan(result.bytes);
    return result;
  };
  const PickleDocument magic = next();
  if (magic.at(magic.root).kind != Kind::kText || magic.at(magic.root).text != kLegacyMagic) {
    refuse_torch(path,
                 "it is a Python pickle, but not one of torch.save; in Python, save it with "
                 "torch.save(module.state_dict(), …)");
  }
  const PickleDocument protocol = next();
  if (protocol.at(protocol.root).integer != kLegacyProtocol) {
    refuse_torch(path, fmt::format("its protocol is {}, not {}", protocol.at(protocol.root).integer, kLegacyProtocol));
  }
  const PickleDocument system = next();
  const std::vector<PickleId>& facts = system.at(system.root).items;
  for (std::size_t i = 0; system.at(system.root).kind == Kind::kDict && i + 1 < facts.size(); i += 2) {
    if (system.at(facts[i]).text == "little_endian" && system.at(facts[i + 1]).integer == 0) {
      refuse_torch(path, "its byte order is big-endian; save it again on a little-endian machine");
    }
  }
  document = next();
  read_legacy_storages(bytes);
}

/// A pickled list of keys; then for each the number of elements and the elements.
void TorchFile::Impl::read_legacy_storages(std::span<const std::byte> bytes) {
  const PickleDocument keys = unpickle(bytes, path);
  bytes = bytes.subspan(keys.bytes);
  std::map<std::string_view, std::size_t> places;
  for (std::size_t i = 0; i < document.storages.size(); ++i) places.emplace(document.storages[i].key, i);
  storages.resize(document.storages.size());
  std::set<std::string_view> seen;
  if (keys.at(keys.root).kind != Kind::kList) refuse_torch(path, "its storages are not listed");
  for (const PickleId id : keys.at(keys.root).items) {
    const std::string& key = keys.at(id).text;
    const auto place = places.find(key);
    if (place == places.end() || !seen.insert(key).second) {
      refuse_torch(path, fmt::format("the storage '{}' is listed but no tensor's, or is listed twice", key));
    }
    const PickleStorage& storage = document.storages[place->second];
    std::uint64_t count = 0;
    if (bytes.size() < sizeof count) refuse_torch(path, fmt::format("it ends before the storage '{}'", key));
    std::memcpy(&count, bytes.data(), sizeof count);
    bytes = bytes.subspan(sizeof count);
    if (count != storage.count || count > bytes.size() / storage.item_bytes) {
      refuse_torch(path, fmt::format("the storage '{}' has {} elements where its tensors say {}, and {} bytes are left",
                                     key, count, storage.count, bytes.size()));
    }
    const std::size_t size = static_cast<std::size_t>(count) * storage.item_bytes;
    storages[place->second] = bytes.first(size);
    bytes = bytes.subspan(size);
  }
  if (seen.size() != document.storages.size()) {
    refuse_torch(path,
                 fmt::format("it lists {} storages, where its tensors need {}", seen.size(), document.storages.size()));
  }
}

void TorchFile::Impl::count_member(std::size_t bytes) {
  name_bytes += bytes;
  if (++members > kMaxMembers || name_bytes > kMaxNameBytes) {
    refuse_torch(path, "its nested containers have more members than any network");
  }
}

void TorchFile::Impl::collect(PickleId id, const std::string& name, std::size_t depth) {
  if (depth > kMaxDepth)
    refuse_torch(path, fmt::format("its containers are nested over {} deep at '{}'", kMaxDepth, name));
  count_member(name.size());
  const PickleValue& value = document.at(id);
  const auto add_value = [&](std::string text) {
    if (text.size() > kMaxValueText) text = text.substr(0, kMaxValueText) + "…";
    values.push_back({name, std::move(text)});
  };
  switch (value.kind) {
    case Kind::kDict:
      collect_dict(value, name, depth);
      break;
    case Kind::kList:
    case Kind::kTuple:
      for (std::size_t i = 0; i < value.items.size(); ++i) {
        collect(value.items[i], name.empty() ? std::to_string(i) : fmt::format("{}.{}", name, i), depth + 1);
      }
      break;
    case Kind::kTensor:
      add_tensor(document.tensors[static_cast<std::size_t>(value.integer)], name);
      break;
    case Kind::kBool:
      add_value(value.integer != 0 ? "true" : "false");
      break;
    case Kind::kInteger:
      add_value(std::to_string(value.integer));
      break;
    case Kind::kFloat:
      add_value(fmt::format("{}", value.real));
      break;
    case Kind::kText:
      add_value(value.text);
      break;
    case Kind::kStorage:
      refuse_torch(path, fmt::format("'{}' is a storage, not a tensor; in Python, save the tensors", name));
    default:
      break;
  }
}

void TorchFile::Impl::collect_dict(const PickleValue& dict, const std::string& name, std::size_t depth) {
  for (std::size_t i = 0; i < dict.items.size(); i += 2) {
    const PickleValue& key = document.at(dict.items[i]);
    const PickleValue& member = document.at(dict.items[i + 1]);
    std::string part;
    if (key.kind == Kind::kText) {
      part = key.text;
    } else if (key.kind == Kind::kInteger || key.kind == Kind::kBool) {
      part = std::to_string(key.integer);
    } else {
      refuse_torch(path, fmt::format("a key of the dict '{}' is neither a text nor a number", name));
    }
    if (depth == 0 && (member.kind == Kind::kDict || member.kind == Kind::kList)) groups.push_back(part);
    collect(dict.items[i + 1], depth == 0 ? part : name + "." + part, depth + 1);
  }
}

void TorchFile::Impl::add_tensor(const PickleTensor& tensor, const std::string& name) {
  const auto wrong = [&](std::string_view what) {
    refuse_torch(path,
                 fmt::format("the tensor '{}' of shape [{}], strides [{}] and offset {} {}", name,
                             fmt::join(tensor.shape, ", "), fmt::join(tensor.strides, ", "), tensor.offset, what));
  };
  if (tensor.shape.size() != tensor.strides.size()) wrong("has not as many strides as dimensions");
  if (tensor.offset < 0) wrong("begins before its storage");
  std::int64_t count = 1;
  for (const std::int64_t extent : tensor.shape) {
    if (extent < 0) wrong("has a negative dimension");
    if (__builtin_mul_overflow(count, extent, &count)) wrong("has more elements than can be counted");
  }
  std::int64_t last = tensor.offset;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    std::int64_t step = 0;
    if (tensor.strides[i] < 0) wrong("has a negative stride");
    if (count > 0 && (__builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &step) ||
                      __builtin_add_overflow(last, step, &last))) {
      wrong("reaches beyond what can be counted");
    }
  }
  const std::size_t storage_bytes = storages[tensor.storage].size();
  const std::size_t elements = storage_bytes / tensor.item_bytes;
  if (count > 0 && static_cast<std::uint64_t>(last) >= elements) {
    wrong(fmt::format("reaches element {} of a storage of {}", last, elements));
  }
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::uint64_t>(count), tensor.item_bytes, &bytes) ||
      bytes > std::max<std::uint64_t>(storage_bytes, kMaxExpandedBytes)) {
    wrong(fmt::format("is expanded from a storage of {} bytes; save it as a tensor of its own", storage_bytes));
  }
  tensors.push_back({.name = name,
                     .dtype = std::string(tensor.dtype),
                     .shape = tensor.shape,
                     .bytes = static_cast<std::size_t>(bytes)});
  geometries.push_back({.storage = tensor.storage,
                        .item_bytes = tensor.item_bytes,
                        .offset = static_cast<std::size_t>(tensor.offset),
                        .shape = tensor.shape,
                        .strides = tensor.strides});
}

void TorchFile::Impl::sort() {
  std::vector<std::size_t> order(tensors.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return tensors[a].name < tensors[b].name; });
  std::vector<TorchTensor> sorted;
  std::vector<TorchGeometry> places;
  for (const std::size_t i : order) {
    if (!sorted.empty() && sorted.back().name == tensors[i].name) {
      refuse_torch(path, fmt::format("two tensors are named '{}'", tensors[i].name));
    }
    sorted.push_back(std::move(tensors[i]));
    places.push_back(std::move(geometries[i]));
  }
  tensors = std::move(sorted);
  geometries = std::move(places);
  document = {};
}

std::span<const std::byte> TorchFile::Impl::storage_of(const TorchGeometry& geometry) const {
  if (zip) {
    std::call_once(checked[geometry.storage], [&] { zip->checked(storage_names[geometry.storage]); });
  }
  return storages[geometry.storage];
}

TorchFile::TorchFile(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
TorchFile::~TorchFile() = default;
TorchFile::TorchFile(TorchFile&&) noexcept = default;
TorchFile& TorchFile::operator=(TorchFile&&) noexcept = default;

TorchFile TorchFile::open(const fs::path& path) {
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->map = MappedFile::open(path);
  impl->read(impl->map->bytes());
  return TorchFile(std::move(impl));
}

TorchFile TorchFile::parse(std::span<const std::byte> bytes, const fs::path& path) {
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->read(bytes);
  return TorchFile(std::move(impl));
}

bool TorchFile::starts_like_one(std::span<const std::byte> start) {
  const std::string_view text = as_text(start);
  return text.starts_with(kZipStart) || (text.size() >= 2 && text[0] == '\x80' && text[1] <= 5);
}

const std::vector<TorchTensor>& TorchFile::tensors() const { return impl_->tensors; }
const std::vector<TorchValue>& TorchFile::values() const { return impl_->values; }
const std::vector<std::string>& TorchFile::groups() const { return impl_->groups; }

void TorchFile::read(std::size_t index, std::span<std::byte> out) const {
  const TorchGeometry& geometry = impl_->geometries.at(index);
  if (out.size() != impl_->tensors[index].bytes) {
    throw Error(ErrorCode::kModel, "{}: tensor '{}' has {} bytes, not {}", impl_->path.string(),
                impl_->tensors[index].name, impl_->tensors[index].bytes, out.size());
  }
  gather(geometry, impl_->storage_of(geometry), out);
}

std::span<const std::byte> TorchFile::view(std::size_t index) const {
  const TorchGeometry& geometry = impl_->geometries.at(index);
  if (impl_->tensors[index].bytes == 0 || !is_row_major(geometry)) return {};
  return impl_->storage_of(geometry).subspan(geometry.offset * geometry.item_bytes, impl_->tensors[index].bytes);
}

}  // namespace vtissue
