#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/checkpoint.h"

namespace at {
class Tensor;
}
namespace torch::nn {
class Module;
}

namespace vtissue::models {

struct TensorInfo {
  std::string name;
  std::string dtype;  ///< safetensors spelling
  std::vector<std::int64_t> shape;
};

/// A tensor made of another one: how a name map renames, slices and reshapes (checkpoint/name_map.h).
struct TensorView {
  TensorInfo info;                                    ///< as it is to be seen
  std::string source;                                 ///< name of the tensor it is made of
  std::function<at::Tensor(const at::Tensor&)> take;  ///< from that tensor's values; empty: they are the same
};

/// Named tensors of a checkpoint, read-only, mapped. Thread-safe.
class StateDict {
 public:
  /// What core/checkpoint.h opens: safetensors, shards, PyTorch's .pth, .pt, .bin and .ckpt; or a folder with one of
  /// them under a usual name (weights_file()). Of a training checkpoint, whose tensors lie in groups, the first of
  /// "state_dict", "state_dict_ema", "ema", "model_ema" and "model" is taken, without its name in front; and
  /// "module.", where it stands before every name, is dropped. Throws Error kModel.
  static StateDict open(const std::filesystem::path& path);
  /// The named group of a training checkpoint; "" for all names as the file has them.
  static StateDict open(const std::filesystem::path& path, std::string_view group);
  /// All names of a checkpoint as they are.
  static StateDict from(Checkpoint checkpoint);
  /// The same file with these tensors instead of its own. `note` is added to what load() says of tensors that do not
  /// fit. Throws Error kModel for a source that is not there.
  StateDict seen_as(std::vector<TensorView> views, std::string note = {}) const;

  std::span<const TensorInfo> tensors() const;  ///< sorted by name; touches no data
  bool contains(std::string_view name) const;
  /// A copy in the file's dtype. Throws Error kModel if there is none, or if LibTorch has no such dtype.
  at::Tensor get(std::string_view name) const;
  const std::filesystem::path& path() const;
  const Checkpoint& checkpoint() const;  ///< the file, under its own names
  const std::string& note() const;

 private:
  struct Impl;
  explicit StateDict(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

/// The weights file of a folder: the first that is there of model.safetensors, diffusion_pytorch_model.safetensors
/// (each also in shards), pytorch_model.bin, model.pth and model.pt; an empty path if none is.
std::filesystem::path weights_file(const std::filesystem::path& folder);

/// Our parameter or buffer name → how it is had from the file: a tensor, or an undefined one if the file
/// has none. What it reads through get() counts as used.
using TensorSource = std::function<at::Tensor(const StateDict&, const std::string& name)>;

/// Options of load().
struct LoadRules {
  TensorSource source;                                      ///< empty: the same name
  std::function<bool(const std::string& name)> may_miss;    ///< of ours: keeps its value if the file has none
  std::function<bool(const std::string& name)> may_ignore;  ///< of the file's: not an error if unused
};

/// Copies the file's tensors into the module's parameters and buffers, converting to their dtype.
/// Throws Error kModel listing by name every tensor that is missing, unknown or misshaped, that is integer or complex
/// where ours is floating, or that has values that are not finite; the module is then partly loaded and not to be used.
void load(torch::nn::Module& module, const StateDict& weights, const LoadRules& rules = {});

/// How safetensors spell the tensor's dtype. Throws Error kOutput if they have none.
std::string_view safetensors_dtype(const at::Tensor& tensor);

/// The module's parameters and buffers as a safetensors file of `dtype` ("F32", "F16" or "BF16"; integers and
/// booleans keep theirs), written atomically. Throws Error kOutput.
void save(const torch::nn::Module& module, const std::filesystem::path& path, std::string_view dtype = "F32");

}  // namespace vtissue::models
