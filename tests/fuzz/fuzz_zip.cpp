#include "core/zip_archive.h"
#include "tests/fuzz/fuzz_support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return vtissue::fuzz_reader(data, size, [](std::span<const std::byte> bytes) {
    const vtissue::ZipArchive archive(bytes, "fuzz.zip");
    for (const auto& [name, entry] : archive.entries()) archive.checked(name);
  });
}
