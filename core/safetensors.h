#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vtissue {

/// A tensor of a safetensors file. `data` points into the mapped file, may be unaligned, and lives as
/// long as the SafetensorsFile.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;  ///< as in the file: "F32", "BF16", "U8" …
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
};

/// A memory-mapped safetensors file, checked as the reference reader does (formats.md 4.1). Thread-safe.
class SafetensorsFile {
 public:
  /// Throws Error kModel that names the file and what is wrong with it.
  static SafetensorsFile open(const std::filesystem::path& path);
  /// The same for bytes in memory, which must outlive the result.
  static SafetensorsFile parse(std::span<const std::byte> bytes, const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::vector<SafetensorsEntry>& entries() const;  ///< sorted by name
  const SafetensorsEntry* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const;

 private:
  struct Impl;
  explicit SafetensorsFile(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

struct SafetensorsOutput {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
};

/// Header and buffer in the reference writer's order (dtype size descending, then name); equal input
/// gives equal bytes.
std::vector<std::byte> serialize_safetensors(std::vector<SafetensorsOutput> tensors,
                                             const std::map<std::string, std::string>& metadata = {});

/// The same, written atomically (core/atomic_file.h). Throws Error kOutput.
void write_safetensors(const std::filesystem::path& path, std::vector<SafetensorsOutput> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace vtissue
