#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "io/expression.h"

namespace vtissue::io {

/// Counts of a 10x matrix (formats.md 3.4), genes only (antibodies and other features are left out);
/// genes are symbols, not unique, gene_ids the ids.
struct TenxMatrix {
  std::vector<std::string> barcodes;
  ExpressionMatrix counts;  ///< row i belongs to barcodes[i]
};

/// HDF5 of Cell Ranger ≥ 3 (/matrix) or older (one genome's group). Throws Error kBadInput.
TenxMatrix read_tenx_h5(const std::filesystem::path& path);

/// Folder with matrix.mtx, barcodes.tsv and features.tsv (genes.tsv before version 3), each plain or
/// .gz. Throws Error kBadInput.
TenxMatrix read_tenx_mtx(const std::filesystem::path& folder);

}  // namespace vtissue::io
