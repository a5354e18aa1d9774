#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace vtissue {

/// Writes one float32 tensor [rows, columns] as torch.save() does, so that torch.load() gives it back: a stored zip
/// archive of a pickle and the values. Rows come as they are made; memory does not grow with them. Equal values give
/// equal bytes. Single thread.
class TorchTensorWriter {
 public:
  /// A file that was not finish()ed is removed. Throws Error kOutput: not writable, or a tensor of more than 4 GiB,
  /// which this form of archive cannot hold.
  TorchTensorWriter(const std::filesystem::path& path, std::int64_t rows, std::int64_t columns);
  ~TorchTensorWriter();
  TorchTensorWriter(const TorchTensorWriter&) = delete;
  TorchTensorWriter& operator=(const TorchTensorWriter&) = delete;

  /// The next rows, row-major. Throws Error kOutput, std::logic_error for more values than there are.
  void append(std::span<const float> values);
  /// Throws Error kOutput, std::logic_error unless all values are there.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vtissue
