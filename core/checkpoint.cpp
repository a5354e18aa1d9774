#include "core/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <optional>

#include "core/error.h"
#include "core/mapped_file.h"
#include "core/safetensors.h"

namespace vtissue {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kIndexEnd = ".index.json";
constexpr std::uintmax_t kMaxIndexBytes = 100'000'000;

std::string read_start(const fs::path& path) {
  std::string start(64, '\0');
  std::ifstream in(path, std::ios::binary);
  in.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<std::size_t>(in.gcount()));
  return start;
}

}  // namespace

/// A file of its own (safetensors or torch), or a view of other checkpoints' tensors.
struct Checkpoint::Impl {
  struct Place {
    std::size_t part = 0;
    std::size_t index = 0;
  };

  fs::path path;
  std::string_view format;
  std::optional<SafetensorsFile> safetensors;
  std::optional<TorchFile> torch;
  std::vector<Checkpoint> parts;
  std::vector<Place> places;  // of each tensor, where it is another checkpoint's
  std::vector<CheckpointTensor> tensors;
  std::vector<TorchValue> values;
  std::vector<std::string> groups;
  std::map<std::string, std::string> metadata;
  std::vector<fs::path> files;

  void open_shards();
  void take(std::size_t part, std::size_t index, std::string name);
  void sort();
};

void Checkpoint::Impl::take(std::size_t part, std::size_t index, std::string name) {
  CheckpointTensor tensor = parts[part].tensors()[index];
  tensor.name = std::move(name);
  tensors.push_back(std::move(tensor));
  places.push_back({part, index});
}

void Checkpoint::Impl::sort() {
  std::vector<std::size_t> order(tensors.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return tensors[a].name < tensors[b].name; });
  std::vector<CheckpointTensor> sorted;
  std::vector<Place> sorted_places;
  for (const std::size_t i : order) {
    if (!sorted.empty() && sorted.back().name == tensors[i].name) {
      throw Error(ErrorCode::kModel, "{}: two tensors are named '{}'", path.string(), tensors[i].name);
    }
    sorted.push_back(std::move(tensors[i]));
    sorted_places.push_back(places[i]);
  }
  tensors = std::move(sorted);
  places = std::move(sorted_places);
}

void Checkpoint::Impl::open_shards() {
  const auto map = MappedFile::open(path);
  if (map->bytes().size() > kMaxIndexBytes) {
    throw Error(ErrorCode::kModel, "{}: {} bytes are too many for an index of shards", path.string(),
                map->bytes().size());
  }
  const auto index = parse_shard_index({reinterpret_cast<const char*>(map->bytes().data()), map->bytes().size()}, path);
  std::map<std::string, std::size_t> opened;
  for (const auto& [tensor, file] : index) {
    if (opened.contains(file)) continue;
    const fs::path shard = path.parent_path() / file;
    if (!fs::exists(shard)) {
      throw Error(ErrorCode::kModel, "{}: the shard {} is missing; put it beside the index", path.string(),
                  shard.filename().string());
    }
    opened.emplace(file, parts.size());
    parts.push_back(Checkpoint::open(shard));
    files.push_back(shard);
  }
  for (const auto& [tensor, file] : index) {
    const std::size_t part = opened.at(file);
    const std::size_t place = parts[part].find(tensor);
    if (place == kNone) {
      throw Error(ErrorCode::kModel, "{}: the shard {} has no tensor '{}', which the index places there", path.string(),
                  file, tensor);
    }
    take(part, place, tensor);
  }
  for (const Checkpoint& part : parts) {
    for (const CheckpointTensor& tensor : part.tensors()) {
      const auto listed = index.find(tensor.name);
      if (listed != index.end() && listed->second == part.path().filename()) continue;
      throw Error(ErrorCode::kModel,
                  "{}: the shard {} holds '{}', which the index does not place there; index and shards are of "
                  "different checkpoints",
                  path.string(), part.path().filename().string(), tensor.name);
    }
  }
  format = "sharded";
  sort();
}

Checkpoint::Checkpoint(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

Checkpoint Checkpoint::open(const fs::path& path) {
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->files.push_back(path);
  const std::string start = read_start(path);
  const std::string name = path.filename().string();
  const std::string extension = path.extension().string();
  const bool named_torch =
      extension == ".pth" || extension == ".pt" || extension == ".bin" || extension == ".ckpt" || extension == ".pkl";
  // The length of a safetensors header may look like the start of a pickle; the brace behind it does not.
  const bool has_header = start.find('{') == 8;
  if (name.ends_with(kIndexEnd)) {
    impl->open_shards();
  } else if (!has_header && (named_torch || TorchFile::starts_like_one(std::as_bytes(std::span(start))))) {
    // What is neither gets the message for what its name says it is.
    impl->torch = TorchFile::open(path);
    impl->format = "PyTorch";
    impl->tensors = impl->torch->tensors();
    impl->values = impl->torch->values();
    impl->groups = impl->torch->groups();
  } else {
    impl->safetensors = SafetensorsFile::open(path);
    impl->format = "safetensors";
    for (const SafetensorsEntry& entry : impl->safetensors->entries()) {
      impl->tensors.push_back(
          {.name = entry.name, .dtype = entry.dtype, .shape = entry.shape, .bytes = entry.data.size()});
    }
    impl->metadata = impl->safetensors->metadata();
  }
  return Checkpoint(std::move(impl));
}

Checkpoint Checkpoint::join(std::vector<std::pair<std::string, Checkpoint>> parts, const fs::path& path) {
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->format = parts.empty() ? "" : parts.front().second.format();
  for (auto& [prefix, part] : parts) {
    impl->parts.push_back(part);
    impl->files.insert(impl->files.end(), part.files().begin(), part.files().end());
    for (std::size_t i = 0; i < part.tensors().size(); ++i) {
      impl->take(impl->parts.size() - 1, i, prefix + part.tensors()[i].name);
    }
  }
  impl->sort();
  return Checkpoint(std::move(impl));
}

Checkpoint Checkpoint::select(std::string_view group) const {
  const std::string prefix = std::string(group) + ".";
  auto impl = std::make_shared<Impl>();
  impl->path = path();
  impl->format = format();
  impl->files = files();
  impl->metadata = metadata();
  impl->parts = {*this};
  for (std::size_t i = 0; i < tensors().size(); ++i) {
    if (tensors()[i].name.starts_with(prefix)) impl->take(0, i, tensors()[i].name.substr(prefix.size()));
  }
  impl->values = values();
  impl->sort();
  return Checkpoint(std::move(impl));
}

const std::vector<CheckpointTensor>& Checkpoint::tensors() const { return impl_->tensors; }
const std::vector<TorchValue>& Checkpoint::values() const { return impl_->values; }
const std::map<std::string, std::string>& Checkpoint::metadata() const { return impl_->metadata; }
const std::vector<std::string>& Checkpoint::groups() const { return impl_->groups; }
const fs::path& Checkpoint::path() const { return impl_->path; }
std::string_view Checkpoint::format() const { return impl_->format; }
const std::vector<fs::path>& Checkpoint::files() const { return impl_->files; }

std::size_t Checkpoint::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(impl_->tensors, name, {}, &CheckpointTensor::name);
  if (found == impl_->tensors.end() || found->name != name) return kNone;
  return static_cast<std::size_t>(found - impl_->tensors.begin());
}

void Checkpoint::read(std::size_t index, std::span<std::byte> out) const {
  if (impl_->torch) {
    impl_->torch->read(index, out);
  } else if (impl_->safetensors) {
    const auto data = impl_->safetensors->entries().at(index).data;
    if (out.size() != data.size()) throw Error(ErrorCode::kModel, "{}: a buffer of the wrong size", path().string());
    if (!data.empty()) std::memcpy(out.data(), data.data(), data.size());
  } else {
    const Impl::Place& place = impl_->places.at(index);
    impl_->parts[place.part].read(place.index, out);
  }
}

std::span<const std::byte> Checkpoint::view(std::size_t index) const {
  if (impl_->torch) return impl_->torch->view(index);
  if (impl_->safetensors) return impl_->safetensors->entries().at(index).data;
  const Impl::Place& place = impl_->places.at(index);
  return impl_->parts[place.part].view(place.index);
}

}  // namespace vtissue
