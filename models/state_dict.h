#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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

/// Named tensors of a checkpoint, read-only, mapped. Thread-safe.
class StateDict {
 public:
  /// safetensors. Throws Error kModel.
  static StateDict open(const std::filesystem::path& path);

  std::span<const TensorInfo> tensors() const;  ///< sorted by name; touches no data
  bool contains(std::string_view name) const;
  /// A copy in the file's dtype. Throws Error kModel if there is none, or if LibTorch has no such dtype.
  at::Tensor get(std::string_view name) const;
  const std::filesystem::path& path() const;

 private:
  struct Impl;
  explicit StateDict(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

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

/// The module's parameters and buffers as a safetensors file of `dtype` ("F32", "F16" or "BF16"; integers and
/// booleans keep theirs), written atomically. Throws Error kOutput.
void save(const torch::nn::Module& module, const std::filesystem::path& path, std::string_view dtype = "F32");

}  // namespace vtissue::models
