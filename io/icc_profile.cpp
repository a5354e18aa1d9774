#include "io/icc_profile.h"

#include <vips/vips.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string_view>

#include "core/error.h"
#include "io/vips_runtime.h"

namespace vtissue::io {
namespace {

constexpr std::size_t kHeaderBytes = 128, kColourSpaceAt = 16, kSignatureAt = 36;
constexpr std::size_t kLargestProfile = 16 << 20;

std::string_view word_at(std::span<const std::byte> profile, std::size_t at) {
  return {reinterpret_cast<const char*>(profile.data()) + at, 4};
}

std::vector<std::byte> builtin_profile(const char* name) {
  ensure_image_libraries();
  VipsBlob* blob = nullptr;
  if (vips_profile_load(name, &blob, nullptr) != 0 || blob == nullptr) {
    vips_error_clear();
    throw Error(ErrorCode::kUsage, "{}: this libvips has no such colour profile; name an ICC file", name);
  }
  std::size_t bytes = 0;
  const auto* const data = static_cast<const std::byte*>(vips_blob_get(blob, &bytes));
  std::vector<std::byte> profile(data, data + bytes);
  vips_area_unref(VIPS_AREA(blob));
  return profile;
}

}  // namespace

std::vector<std::byte> read_icc_profile(const std::string& file_or_name) {
  if (file_or_name == "srgb") return builtin_profile("srgb");
  std::ifstream file(file_or_name, std::ios::binary);
  if (!file) throw Error(ErrorCode::kUsage, "{}: no such colour profile; name an ICC file, or srgb", file_or_name);
  std::string content(kLargestProfile + 1, '\0');
  file.read(content.data(), static_cast<std::streamsize>(content.size()));
  content.resize(static_cast<std::size_t>(file.gcount()));
  const auto bytes = std::as_bytes(std::span(content));
  if (bytes.size() < kHeaderBytes || bytes.size() > kLargestProfile || word_at(bytes, kSignatureAt) != "acsp" ||
      word_at(bytes, kColourSpaceAt) != "RGB ") {
    throw Error(ErrorCode::kUsage, "{}: not an ICC profile of RGB pictures; name another, or srgb", file_or_name);
  }
  return {bytes.begin(), bytes.end()};
}

}  // namespace vtissue::io
