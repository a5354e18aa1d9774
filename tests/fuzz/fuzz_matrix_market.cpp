// Visium matrices of three text files, and the two tables of legacy ST.

#include "io/expression.h"
#include "io/tenx_matrix.h"
#include "tests/fuzz/fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::span<const std::uint8_t> bytes(data + 1, size - 1);
  if (data[0] % 2 == 0) {
    const auto parts = vtissue::fuzz_parts(bytes, 3);
    const vtissue::FuzzFile barcodes(parts[0]), features(parts[1]), matrix(parts[2]);
    const vtissue::io::MtxFiles files{matrix.path(), barcodes.path(), features.path()};
    vtissue::fuzz_input([&] { vtissue::io::read_tenx_mtx(files); });
    // Every other gene.
    const auto keep = [](std::span<const std::string> genes, std::span<const std::string>) {
      std::vector<std::uint8_t> kept(genes.size());
      for (std::size_t i = 0; i < kept.size(); i += 2) kept[i] = 1;
      return kept;
    };
    vtissue::fuzz_input([&] { vtissue::io::read_tenx_mtx(files, keep); });
  } else {
    const auto parts = vtissue::fuzz_parts(bytes, 2);
    const vtissue::FuzzFile counts(parts[0]), selection(parts[1]);
    vtissue::fuzz_input([&] { vtissue::io::read_legacy_st(counts.path(), selection.path()); });
  }
  return 0;
}
