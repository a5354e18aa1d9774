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

/// The files of a matrix in MatrixMarket form, each plain or .gz.
struct MtxFiles {
  std::filesystem::path matrix, barcodes, features;
};

/// HDF5 of Cell Ranger ≥ 3 (/matrix) or older (one genome's group). `keep`: genes to keep; empty: all. Throws Error
/// kBadInput: damaged, names, shape and arrays that do not fit, a barcode twice, negative counts or such that are not
/// finite, a matrix of probes.
TenxMatrix read_tenx_h5(const std::filesystem::path& path, const GeneFilter& keep = {});

/// matrix.mtx, barcodes.tsv and features.tsv (genes.tsv before version 3). Throws Error kBadInput, as read_tenx_h5().
TenxMatrix read_tenx_mtx(const MtxFiles& files, const GeneFilter& keep = {});

}  // namespace vtissue::io
