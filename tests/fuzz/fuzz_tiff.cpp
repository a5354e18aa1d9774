// What a TIFF says of itself: its directories (io/tiff_check.h), and the texts that scanners and OME write into it.

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "io/mpp.h"
#include "io/ome_xml.h"
#include "io/tiff_check.h"
#include "tests/fuzz/fuzz_support.h"

namespace vtissue {
namespace {

/// A file in memory, by a name that readers of files open.
class MemoryFile {
 public:
  MemoryFile(const std::uint8_t* data, std::size_t size) : file_(::memfd_create("fuzz", 0)) {
    if (file_ < 0 || ::write(file_, data, size) != static_cast<ssize_t>(size)) std::abort();
  }
  ~MemoryFile() { ::close(file_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
};

/// Refusals of io/ are of code kBadInput.
template <typename Read>
void refusing(Read&& read) {
  try {
    read();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBadInput) throw;
  }
}

}  // namespace
}  // namespace vtissue

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vtissue;
  const MemoryFile file(data, size);
  refusing([&] { io::check_tiff_is_whole(file.path()); });
  const std::string text(reinterpret_cast<const char*>(data), size);
  io::SlideProperties properties = io::ome_properties(text);
  refusing([&] { io::resolve_mpp(properties, {}, "fuzz.tif"); });
  io::parse_property_number(text);
  // "key=value" lines as OpenSlide hands an Aperio description's items on.
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::size_t is = text.find('=', begin);
    if (is < end) properties[text.substr(begin, is - begin)] = text.substr(is + 1, end - is - 1);
    begin = end + 1;
  }
  io::objective_power_of(properties);
  refusing([&] { io::resolve_mpp(properties, {}, "fuzz.tif"); });
  return 0;
}
