// Tables of Visium positions: text, gzip or Parquet, as their first bytes say.

#include "io/visium_layout.h"
#include "tests/fuzz/fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const vtissue::FuzzFile file({data, size});
  vtissue::fuzz_input([&] { vtissue::io::read_tissue_positions(file.path()); });
  vtissue::fuzz_input([&] { vtissue::io::read_scale_factors(file.path()); });
  return 0;
}
