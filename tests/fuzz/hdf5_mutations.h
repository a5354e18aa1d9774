#pragma once

#include <filesystem>
#include <vector>

#include "tests/fuzz/fuzz_file.h"

namespace vtissue {

/// Reads a folder's files that end so; those that cannot be opened as HDF5 are left out.
std::vector<std::vector<std::uint8_t>> hdf5_templates(const std::vector<std::filesystem::path>& folders,
                                                      const std::string& ending);

/// A whole HDF5 file whose content is wrong: one of `templates` with objects removed, replaced, linked in the place of
/// others, filled with other numbers, and attributes changed, as `data` says. HDF5's own parser of damaged files is not
/// what is tested.
FuzzFile mutated_hdf5(const std::vector<std::vector<std::uint8_t>>& templates, const std::uint8_t* data,
                      std::size_t size);

}  // namespace vtissue
