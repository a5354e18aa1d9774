// Matrices of Space Ranger whose HDF5 is whole and whose content is not.

#include "io/tenx_matrix.h"
#include "tests/fuzz/hdf5_mutations.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::filesystem::path folder = VTISSUE_TEST_DATA;
  static const auto templates = vtissue::hdf5_templates({folder / "spatial"}, "_matrix.h5");
  const vtissue::FuzzFile file = vtissue::mutated_hdf5(templates, data, size);
  vtissue::fuzz_input([&] { vtissue::io::read_tenx_h5(file.path()); });
  const auto keep = [](std::span<const std::string> genes, std::span<const std::string>) {
    return std::vector<std::uint8_t>(genes.size(), 0);
  };
  vtissue::fuzz_input([&] { vtissue::io::read_tenx_h5(file.path(), keep); });
  return 0;
}
