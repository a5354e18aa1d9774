#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/torch_file.h"

namespace vtissue {

/// A tensor of a checkpoint: name, dtype as safetensors spell it, shape, bytes of its row-major values.
using CheckpointTensor = TorchTensor;

/// The tensors of a weights file, whatever it is stored in: safetensors, safetensors or .bin files in shards, or a
/// PyTorch checkpoint. Mapped; data is read when it is asked for. Thread-safe.
class Checkpoint {
 public:
  /// `path`: a safetensors file; an index of shards (*.index.json); a .pth, .pt, .bin or .ckpt file; which of them is
  /// seen from the content. Throws Error kModel that names the file, what is wrong with it and what to do.
  static Checkpoint open(const std::filesystem::path& path);

  /// Several files as one: each with the prefix that its names get.
  static Checkpoint join(std::vector<std::pair<std::string, Checkpoint>> parts, const std::filesystem::path& path);

  /// One group of a training checkpoint (see groups()), without its name in front.
  Checkpoint select(std::string_view group) const;

  const std::vector<CheckpointTensor>& tensors() const;        ///< sorted by name; touches no data
  const std::vector<TorchValue>& values() const;               ///< what a PyTorch checkpoint holds beside tensors
  const std::map<std::string, std::string>& metadata() const;  ///< of a safetensors file
  /// Outermost keys of a PyTorch checkpoint that hold containers, such as "state_dict" and "optimizer".
  const std::vector<std::string>& groups() const;
  const std::filesystem::path& path() const;
  std::string_view format() const;  ///< "safetensors", "PyTorch", "sharded"
  /// The files that were opened: an index and its shards, or the one file.
  const std::vector<std::filesystem::path>& files() const;

  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  std::size_t find(std::string_view name) const;  ///< place in tensors(), or kNone

  /// The values of tensors()[index], row-major, into a buffer of its size. Throws Error kModel if they are damaged.
  void read(std::size_t index, std::span<std::byte> out) const;
  /// The same without a copy, maybe unaligned; empty if they do not lie so in the file. Lives as long as a copy of
  /// this object.
  std::span<const std::byte> view(std::size_t index) const;

 private:
  struct Impl;
  explicit Checkpoint(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

/// Tensor name → file name of a shard index, as Hugging Face writes it (formats.md 4.1). Throws Error kModel for
/// anything else, names that occur twice, and file names that leave the folder.
std::map<std::string, std::string> parse_shard_index(std::string_view json, const std::filesystem::path& path);

}  // namespace vtissue
