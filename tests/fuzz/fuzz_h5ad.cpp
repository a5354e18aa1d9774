// AnnData files whose HDF5 is whole and whose content is not.

#include "io/anndata.h"
#include "io/expression.h"
#include "io/spot_record.h"
#include "tests/fuzz/hdf5_mutations.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::filesystem::path folder = VTISSUE_TEST_DATA;
  static const auto templates = vtissue::hdf5_templates({folder / "golden/h5ad", folder / "spatial"}, ".h5ad");
  const vtissue::FuzzFile file = vtissue::mutated_hdf5(templates, data, size);
  vtissue::fuzz_input([&] { vtissue::io::read_h5ad(file.path()); });
  vtissue::fuzz_input([&] { vtissue::io::read_h5ad_spots(file.path()); });
  vtissue::fuzz_input([&] {
    const vtissue::io::H5adRows rows(file.path());
    if (rows.rows() > 0) rows.read(rows.rows() - 1, 1);
  });
  vtissue::fuzz_input([&] { vtissue::io::read_spot_record(file.path()); });
  return 0;
}
