#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vtissue {

/// A tensor of a PyTorch checkpoint. Names of nested containers are joined with '.', lists count from 0, and a bare
/// tensor is named "".
struct TorchTensor {
  std::string name;
  std::string dtype;  ///< as safetensors spell it
  std::vector<std::int64_t> shape;
  std::size_t bytes = 0;  ///< of the values, row-major
};

/// A number, text or truth value beside the tensors.
struct TorchValue {
  std::string name;
  std::string text;
};

/// A .pth, .pt, .bin or .ckpt file with tensors in plain containers, mapped: PyTorch's zip container or the one before
/// version 1.6 (formats.md 4.2). Nothing of the file is ever executed (core/pickle.h). Thread-safe.
class TorchFile {
 public:
  /// Throws Error kModel that names the file, what is wrong with it and what to do. Checks structure and geometry;
  /// the tensors' data is not touched.
  static TorchFile open(const std::filesystem::path& path);
  /// The same for bytes in memory, which must outlive the result.
  static TorchFile parse(std::span<const std::byte> bytes, const std::filesystem::path& path);

  /// Whether a file that starts so is one of these: a zip archive or a pickle.
  static bool starts_like_one(std::span<const std::byte> start);

  ~TorchFile();
  TorchFile(TorchFile&&) noexcept;
  TorchFile& operator=(TorchFile&&) noexcept;

  const std::vector<TorchTensor>& tensors() const;  ///< sorted by name
  const std::vector<TorchValue>& values() const;    ///< in the file's order
  /// Keys of the outermost dict that hold containers: "state_dict" of a training checkpoint.
  const std::vector<std::string>& groups() const;

  /// The values of tensors()[index], row-major, into tensors()[index].bytes bytes. Compares the CRC-32 of a zip
  /// container's storage when it is first read. Throws Error kModel if it is damaged.
  void read(std::size_t index, std::span<std::byte> out) const;
  /// The same without a copy; empty if the tensor is not row-major in the file (or has no values).
  std::span<const std::byte> view(std::size_t index) const;

 private:
  struct Impl;
  explicit TorchFile(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace vtissue
