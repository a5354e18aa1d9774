#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

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

/// A matrix that read_ann_matrix() takes, by ranges of rows: of a dense or csr_matrix only the rows asked for are in
/// memory (of the latter also indptr), a csc_matrix is read whole on construction.
class AnnMatrixRows {
 public:
  /// Throws Error kBadInput as read_ann_matrix() does, for values that are not finite or indices out of range first
  /// when they are read.
  AnnMatrixRows(const hdf5::Group& parent, const std::string& name, std::size_t rows, std::size_t columns);
  /// Rows [first, first + count), which must be there; without genes. Entries as in read_ann_matrix().
  ExpressionMatrix read(std::size_t first, std::size_t count) const;

 private:
  std::size_t columns_;
  std::optional<hdf5::Dataset> dense_;
  std::optional<hdf5::Dataset> data_, indices_;
  std::vector<std::int64_t> indptr_;
  ExpressionMatrix whole_;  ///< of a csc_matrix
};

/// Of `new_column` below: the column is left out, but counts in the rows' totals; or does not count at all.
constexpr std::int32_t kDroppedColumn = -1, kForeignColumn = -2;

/// The arrays data, indices and indptr of `group` as CSR [rows, columns], checked and brought into order
/// in the same way (no shape or encoding attributes are asked for). `new_column` [columns]: where each column goes,
/// ascending, or one of the constants above; `totals` is filled then. Empty: all are kept. Needs the memory of what is
/// kept and some 10 MB.
ExpressionMatrix read_compressed_rows(const hdf5::Group& group, std::size_t rows, std::size_t columns,
                                      std::span<const std::int32_t> new_column = {});

/// Writes parent/name as dense float32, chunked by rows, from rows as they come.
class AnnMatrixWriter {
 public:
  AnnMatrixWriter(hdf5::Group& parent, const std::string& name, std::size_t rows, std::size_t columns);
  /// The next rows, [n, columns]. Throws std::logic_error if they are more than announced.
  void append(std::span<const float> values);
  /// Throws std::logic_error if rows are missing.
  void finish();

 private:
  void flush();
  std::size_t rows_, columns_, step_;
  std::size_t written_ = 0;
  std::vector<float> block_;
  hdf5::Dataset dataset_;
};

/// Sorts the entries of each row by column and adds up those of the same cell.
void sort_rows(ExpressionMatrix& matrix);

}  // namespace vtissue::io
