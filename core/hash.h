#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

namespace vtissue {

/// SHA-256 of content that becomes part of a fingerprint or of provenance.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);

  /// 64 lower-case hexadecimal digits. The object is spent afterwards.
  std::string finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string sha256(std::string_view text);

/// Throws Error kBadInput if the file cannot be read; the second kInterrupted once a stop has been asked for.
std::string sha256_file(const std::filesystem::path& path);
std::string sha256_file_unless_stopped(const std::filesystem::path& path, const std::stop_token& stop);

/// XXH3-64: checksum of committed parts (damage, not adversaries).
std::uint64_t checksum64(std::span<const std::byte> bytes);

/// checksum64() of bytes that come in pieces.
class Checksum64 {
 public:
  Checksum64();
  ~Checksum64();
  Checksum64(const Checksum64&) = delete;
  Checksum64& operator=(const Checksum64&) = delete;

  void update(std::span<const std::byte> bytes);
  /// Of what came so far.
  std::uint64_t value() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vtissue
