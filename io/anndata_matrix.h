#pragma once

#include <cstddef>
#include <string>

#include "io/expression.h"
#include "io/hdf5.h"

/// Matrices of an AnnData file (X, layers, raw/X) to and from CSR.
namespace vtissue::io {

/// Reads parent/name, a dense array or a csr_matrix or csc_matrix group, as CSR [rows, columns] with
/// ascending columns; entries that name the same cell are added up, explicit zeros are kept in sparse
/// input only. Fills rows, indptr, indices and values. Everything is checked before it is followed.
/// Throws Error kBadInput: another shape than obs and var, indices out of range, values not finite.
ExpressionMatrix read_ann_matrix(const hdf5::Group& parent, const std::string& name, std::size_t rows,
                                 std::size_t columns);

/// The arrays data, indices and indptr of `group` as CSR [rows, columns], checked and brought into order
/// in the same way (no shape or encoding attributes are asked for).
ExpressionMatrix read_compressed_rows(const hdf5::Group& group, std::size_t rows, std::size_t columns);

/// Writes parent/name as dense float32, chunked by rows.
void write_ann_matrix(hdf5::Group& parent, const std::string& name, const ExpressionMatrix& matrix,
                      std::size_t columns);

/// Sorts the entries of each row by column and adds up those of the same cell.
void sort_rows(ExpressionMatrix& matrix);

}  // namespace vtissue::io
