#include "io/anndata_matrix.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "io/anndata_table.h"
#include "io/hdf5_entries.h"

namespace vtissue::io {
namespace {

using hdf5::Dataset;
using hdf5::Group;

constexpr std::uint64_t kBlockBytes = 4 << 20;

std::uint64_t block_rows(std::uint64_t columns) {
  return std::max<std::uint64_t>(1, kBlockBytes / (std::max<std::uint64_t>(columns, 1) * sizeof(float)));
}

void require_matching(const hdf5::Place& place, std::uint64_t matrix_rows, std::uint64_t matrix_columns,
                      std::size_t rows, std::size_t columns) {
  if (matrix_rows != rows) place.fail(fmt::format("has {} rows, obs has {} names", matrix_rows, rows));
  if (matrix_columns != columns) place.fail(fmt::format("has {} columns, var has {} names", matrix_columns, columns));
}

[[noreturn]] void fail_not_finite(const hdf5::Place& place, std::size_t row, std::size_t column, float value) {
  place.fail(fmt::format("value {} in row {}, column {}; expression must be finite", value, row, column));
}

void check_dense(const Dataset& dataset, std::size_t rows, std::size_t columns) {
  if (dataset.shape().size() != 2) {
    dataset.place().fail(fmt::format("has {} dimensions, expected 2", dataset.shape().size()));
  }
  require_matching(dataset.place(), dataset.shape()[0], dataset.shape()[1], rows, columns);
  if (dataset.kind() != hdf5::TypeKind::kFloat && dataset.kind() != hdf5::TypeKind::kInteger) {
    dataset.place().fail("does not hold numbers");
  }
  dataset.require_plausible();
}

ExpressionMatrix read_dense(const Dataset& dataset, std::size_t first_row, std::size_t rows, std::size_t columns) {
  // Whole chunks at a time: a compressed chunk would else be inflated over and over.
  std::uint64_t step = block_rows(columns);
  if (const std::uint64_t chunk = dataset.chunk_rows(); chunk > 0) step = std::max(chunk, step / chunk * chunk);
  step = std::min<std::uint64_t>(step, std::max<std::size_t>(rows, 1));

  ExpressionMatrix matrix;
  matrix.rows = rows;
  matrix.indptr.reserve(rows + 1);
  matrix.indptr.push_back(0);
  std::vector<float> block(step * columns);
  for (std::uint64_t done = 0; done < rows; done += step) {
    const std::uint64_t count = std::min<std::uint64_t>(step, rows - done);
    const std::uint64_t first = first_row + done;
    dataset.read_rows(first, count, block.data());
    for (std::size_t row = 0; row < count; ++row) {
      for (std::size_t column = 0; column < columns; ++column) {
        const float value = block[row * columns + column];
        if (!std::isfinite(value)) fail_not_finite(dataset.place(), first + row, column, value);
        if (value == 0) continue;
        matrix.indices.push_back(static_cast<std::int32_t>(column));
        matrix.values.push_back(value);
      }
      matrix.indptr.push_back(static_cast<std::int64_t>(matrix.values.size()));
    }
  }
  return matrix;
}

/// The three arrays of a compressed matrix, `major` rows of CSR or columns of CSC. indptr is read and its order
/// checked, the others are read in blocks, since there may be a hundred million entries.
struct CompressedFile {
  Dataset data, indices;
  std::vector<std::int64_t> indptr;
  std::uint64_t count() const { return data.shape()[0]; }
};

CompressedFile open_compressed(const Group& group, std::size_t major) {
  Dataset data = group.dataset("data"), indices = group.dataset("indices");
  const Dataset indptr = group.dataset("indptr");
  for (const Dataset* dataset : {&std::as_const(data), &std::as_const(indices), &indptr}) {
    if (dataset->shape().size() != 1) dataset->place().fail("is not one-dimensional");
    if (dataset->kind() != hdf5::TypeKind::kFloat && dataset->kind() != hdf5::TypeKind::kInteger) {
      dataset->place().fail("does not hold numbers");
    }
    // A lying header may claim more entries than the file holds.
    dataset->require_plausible();
  }
  indptr.require_shape(std::array<std::uint64_t, 1>{major + 1});
  const std::uint64_t count = data.shape()[0];
  indices.require_shape(std::array{count});

  std::vector<std::int64_t> starts = indptr.read<std::int64_t>();
  if (starts.front() != 0) indptr.place().fail(fmt::format("begins with {}, not 0", starts.front()));
  if (!std::ranges::is_sorted(starts)) indptr.place().fail("falls: it must not decrease");
  if (static_cast<std::uint64_t>(starts.back()) != count) {
    indptr.place().fail(fmt::format("ends with {}, but there are {} values", starts.back(), count));
  }
  return {std::move(data), std::move(indices), std::move(starts)};
}

/// Reads indices from entry `first` on and throws for the first that is out of range. What is too large for int32
/// becomes one that is; `minor` is not above the largest int32.
void read_indices(const Dataset& dataset, std::uint64_t first, std::span<std::int32_t> indices, std::size_t minor) {
  hdf5::read_entries(dataset, first, indices);
  // Without an exit the loop runs as vectors.
  std::uint32_t largest = 0;
  for (const std::int32_t index : indices) largest = std::max(largest, static_cast<std::uint32_t>(index));
  if (indices.empty() || largest < minor) return;
  for (const std::int32_t index : indices) {
    if (index < 0 || static_cast<std::size_t>(index) >= minor) {
      dataset.place().fail(fmt::format("index {} of {}", index, minor));
    }
  }
}

/// The same of values, which must be finite.
void read_values(const Dataset& dataset, std::uint64_t first, std::span<float> values) {
  hdf5::read_entries(dataset, first, values);
  // The exponent of what is not finite is all ones.
  constexpr std::uint32_t kExponent = 0x7f800000;
  std::uint32_t strange = 0;
  for (const float value : values) strange |= (std::bit_cast<std::uint32_t>(value) & kExponent) == kExponent ? 1u : 0u;
  if (strange == 0) return;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      dataset.place().fail(fmt::format("value {} at {}; expression must be finite", values[i], first + i));
    }
  }
}

void read_entries(const Dataset& indices_in, const Dataset& values_in, std::uint64_t first,
                  std::span<std::int32_t> indices, std::span<float> values, std::size_t minor) {
  if (indices.empty()) return;
  read_indices(indices_in, first, indices, minor);
  read_values(values_in, first, values);
}

/// All entries as they are.
struct Compressed {
  std::vector<std::int64_t> indptr;
  std::vector<std::int32_t> indices;
  std::vector<float> values;
};

Compressed read_compressed(const Group& group, std::size_t major, std::size_t minor) {
  CompressedFile file = open_compressed(group, major);
  Compressed arrays;
  constexpr std::uint64_t kWorthAThread = 1 << 16;
  const auto read_all_indices = [&] {
    hdf5::resize_large(arrays.indices, file.count());
    read_indices(file.indices, 0, arrays.indices, minor);
  };
  const auto read_all_values = [&] {
    hdf5::resize_large(arrays.values, file.count());
    read_values(file.data, 0, arrays.values);
  };
  if (file.count() >= kWorthAThread) {
    hdf5::two_at_once(read_all_indices, read_all_values);
  } else {
    read_all_indices();
    read_all_values();
  }
  arrays.indptr = std::move(file.indptr);
  return arrays;
}

/// Only the columns that `new_column` keeps, block by block.
ExpressionMatrix read_kept_columns(const Group& group, std::size_t rows, std::size_t columns,
                                   std::span<const std::int32_t> new_column) {
  constexpr std::uint64_t kBlockEntries = 1 << 20;
  const CompressedFile file = open_compressed(group, rows);
  ExpressionMatrix matrix;
  matrix.rows = rows;
  matrix.totals.assign(rows, 0.0);
  matrix.indptr.assign(rows + 1, 0);
  std::vector<std::int32_t> indices(std::min(file.count(), kBlockEntries));
  std::vector<float> values(indices.size());
  std::size_t row = 0;
  for (std::uint64_t first = 0; first < file.count(); first += kBlockEntries) {
    const std::uint64_t count = std::min(kBlockEntries, file.count() - first);
    read_entries(file.indices, file.data, first, std::span(indices).first(count), std::span(values).first(count),
                 columns);
    for (std::uint64_t i = 0; i < count; ++i) {
      while (static_cast<std::uint64_t>(file.indptr[row + 1]) <= first + i) {
        matrix.indptr[++row] = static_cast<std::int64_t>(matrix.values.size());
      }
      const std::int32_t column = new_column[static_cast<std::size_t>(indices[i])];
      if (column != kForeignColumn) matrix.totals[row] += values[i];
      if (column < 0) continue;
      matrix.indices.push_back(column);
      matrix.values.push_back(values[i]);
    }
  }
  while (row < rows) matrix.indptr[++row] = static_cast<std::int64_t>(matrix.values.size());
  return matrix;
}

ExpressionMatrix from_csc(const Compressed& arrays, std::size_t rows) {
  ExpressionMatrix matrix;
  matrix.rows = rows;
  matrix.indptr.assign(rows + 1, 0);
  for (const std::int32_t row : arrays.indices) ++matrix.indptr[static_cast<std::size_t>(row) + 1];
  std::partial_sum(matrix.indptr.begin(), matrix.indptr.end(), matrix.indptr.begin());
  matrix.indices.resize(arrays.values.size());
  matrix.values.resize(arrays.values.size());
  std::vector<std::int64_t> next(matrix.indptr.begin(), matrix.indptr.end() - 1);
  for (std::size_t column = 0; column + 1 < arrays.indptr.size(); ++column) {
    for (std::int64_t i = arrays.indptr[column]; i < arrays.indptr[column + 1]; ++i) {
      const auto row = static_cast<std::size_t>(arrays.indices[static_cast<std::size_t>(i)]);
      const auto at = static_cast<std::size_t>(next[row]++);
      matrix.indices[at] = static_cast<std::int32_t>(column);
      matrix.values[at] = arrays.values[static_cast<std::size_t>(i)];
    }
  }
  sort_rows(matrix);
  return matrix;
}

/// The encoding of a compressed matrix, "csr_matrix" or "csc_matrix", once its shape is found to fit.
std::string compressed_encoding(const Group& group, std::size_t rows, std::size_t columns) {
  std::string encoding = group.string_attribute("encoding-type").value_or("");
  const std::string shape_name = encoding.empty() ? "h5sparse_shape" : "shape";
  if (encoding.empty()) encoding = group.string_attribute("h5sparse_format").value_or("none") + "_matrix";
  if (encoding != "csr_matrix" && encoding != "csc_matrix") {
    group.place().fail(fmt::format("has encoding '{}', expected a dense array, csr_matrix or csc_matrix", encoding));
  }
  const auto shape = group.integers_attribute(shape_name);
  if (!shape || shape->size() != 2 || shape->at(0) < 0 || shape->at(1) < 0) {
    group.place().fail(fmt::format("attribute '{}' is [{}], expected two numbers that are not negative", shape_name,
                                   fmt::join(shape.value_or(std::vector<std::int64_t>{}), ", ")));
  }
  require_matching(group.place(), static_cast<std::uint64_t>(shape->at(0)), static_cast<std::uint64_t>(shape->at(1)),
                   rows, columns);
  return encoding;
}

void require_column_count(const Group& parent, const std::string& name, std::size_t columns) {
  if (columns > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    parent.place().child(name).fail(fmt::format("has {} columns", columns));
  }
}

}  // namespace

void sort_rows(ExpressionMatrix& matrix) {
  const auto ascending = [&](std::size_t begin, std::size_t end) {
    bool rises = true;
    for (std::size_t i = begin + 1; i < end; ++i) rises &= matrix.indices[i] > matrix.indices[i - 1];
    return rises;
  };
  const auto row_at = [](std::size_t i) { return static_cast<std::ptrdiff_t>(i); };
  std::vector<std::pair<std::int32_t, float>> entries;
  std::size_t out = 0;
  for (std::size_t row = 0; row < matrix.rows; ++row) {
    const auto begin = static_cast<std::size_t>(matrix.indptr[row]),
               end = static_cast<std::size_t>(matrix.indptr[row + 1]);
    matrix.indptr[row] = static_cast<std::int64_t>(out);
    if (ascending(begin, end)) {
      // Rows stay where they are until an entry was added to another.
      if (out != begin) {
        std::copy(matrix.indices.begin() + row_at(begin), matrix.indices.begin() + row_at(end),
                  matrix.indices.begin() + row_at(out));
        std::copy(matrix.values.begin() + row_at(begin), matrix.values.begin() + row_at(end),
                  matrix.values.begin() + row_at(out));
      }
      out += end - begin;
      continue;
    }
    entries.clear();
    for (std::size_t i = begin; i < end; ++i) entries.emplace_back(matrix.indices[i], matrix.values[i]);
    std::ranges::stable_sort(entries, {}, &std::pair<std::int32_t, float>::first);
    const std::size_t row_begin = out;
    for (const auto& [column, value] : entries) {
      if (out > row_begin && matrix.indices[out - 1] == column) {
        matrix.values[out - 1] += value;
      } else {
        matrix.indices[out] = column;
        matrix.values[out++] = value;
      }
    }
  }
  if (matrix.rows > 0) matrix.indptr[matrix.rows] = static_cast<std::int64_t>(out);
  matrix.indices.resize(out);
  matrix.values.resize(out);
}

ExpressionMatrix read_compressed_rows(const Group& group, std::size_t rows, std::size_t columns,
                                      std::span<const std::int32_t> new_column) {
  ExpressionMatrix matrix;
  if (new_column.empty()) {
    Compressed arrays = read_compressed(group, rows, columns);
    matrix.rows = rows;
    matrix.indptr = std::move(arrays.indptr);
    matrix.indices = std::move(arrays.indices);
    matrix.values = std::move(arrays.values);
  } else {
    matrix = read_kept_columns(group, rows, columns, new_column);
  }
  sort_rows(matrix);
  return matrix;
}

ExpressionMatrix read_ann_matrix(const Group& parent, const std::string& name, std::size_t rows, std::size_t columns) {
  require_column_count(parent, name, columns);
  if (parent.has_dataset(name)) {
    const Dataset dataset = parent.dataset(name);
    check_dense(dataset, rows, columns);
    return read_dense(dataset, 0, rows, columns);
  }
  const Group group = parent.group(name);
  if (compressed_encoding(group, rows, columns) == "csr_matrix") return read_compressed_rows(group, rows, columns);
  return from_csc(read_compressed(group, columns, rows), rows);
}

AnnMatrixRows::AnnMatrixRows(const Group& parent, const std::string& name, std::size_t rows, std::size_t columns)
    : columns_(columns) {
  require_column_count(parent, name, columns);
  if (parent.has_dataset(name)) {
    dense_ = parent.dataset(name);
    check_dense(*dense_, rows, columns);
    return;
  }
  const Group group = parent.group(name);
  if (compressed_encoding(group, rows, columns) == "csc_matrix") {
    whole_ = from_csc(read_compressed(group, columns, rows), rows);
    return;
  }
  CompressedFile file = open_compressed(group, rows);
  data_ = std::move(file.data);
  indices_ = std::move(file.indices);
  indptr_ = std::move(file.indptr);
}

ExpressionMatrix AnnMatrixRows::read(std::size_t first, std::size_t count) const {
  if (dense_) return read_dense(*dense_, first, count, columns_);
  if (!data_) {
    std::vector<std::size_t> rows(count);
    std::iota(rows.begin(), rows.end(), first);
    return select_rows(whole_, rows);
  }
  const auto begin = static_cast<std::uint64_t>(indptr_[first]);
  const auto entries = static_cast<std::uint64_t>(indptr_[first + count]) - begin;
  ExpressionMatrix matrix;
  matrix.rows = count;
  matrix.indices.resize(entries);
  matrix.values.resize(entries);
  read_entries(*indices_, *data_, begin, matrix.indices, matrix.values, columns_);
  for (std::size_t row = 0; row <= count; ++row) matrix.indptr.push_back(indptr_[first + row] - indptr_[first]);
  sort_rows(matrix);
  return matrix;
}

AnnMatrixWriter::AnnMatrixWriter(Group& parent, const std::string& name, std::size_t rows, std::size_t columns)
    : rows_(rows),
      columns_(columns),
      step_(std::min<std::uint64_t>(block_rows(columns) / 4 + 1, std::max<std::size_t>(rows, 1))),
      dataset_(parent.create_dataset(name, H5T_NATIVE_FLOAT, std::array<std::uint64_t, 2>{rows, columns},
                                     std::array<std::uint64_t, 2>{step_, columns})) {
  write_encoding(dataset_, "array", "0.2.0");
}

// Whole chunks of the file are written whatever the rows come in, so that the bytes do not depend on it.
void AnnMatrixWriter::append(std::span<const float> values) {
  if (columns_ == 0) return;
  if (values.size() % columns_ != 0 || written_ + (block_.size() + values.size()) / columns_ > rows_) {
    throw std::logic_error("AnnMatrixWriter: the values are no rows, or more than announced");
  }
  while (!values.empty()) {
    const std::size_t taken = std::min(values.size(), step_ * columns_ - block_.size());
    block_.insert(block_.end(), values.begin(), values.begin() + static_cast<std::ptrdiff_t>(taken));
    values = values.subspan(taken);
    if (block_.size() == step_ * columns_) flush();
  }
}

void AnnMatrixWriter::finish() {
  if (!block_.empty()) flush();
  if (columns_ != 0 && written_ != rows_) throw std::logic_error("AnnMatrixWriter: rows are missing");
}

void AnnMatrixWriter::flush() {
  const std::size_t count = block_.size() / columns_;
  dataset_.write_rows(written_, count, block_.data());
  written_ += count;
  block_.clear();
}

}  // namespace vtissue::io
