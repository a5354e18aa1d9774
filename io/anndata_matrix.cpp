#include "io/anndata_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "io/anndata_table.h"

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

ExpressionMatrix read_dense(const Dataset& dataset, std::size_t rows, std::size_t columns) {
  if (dataset.shape().size() != 2) {
    dataset.place().fail(fmt::format("has {} dimensions, expected 2", dataset.shape().size()));
  }
  require_matching(dataset.place(), dataset.shape()[0], dataset.shape()[1], rows, columns);
  if (dataset.kind() != hdf5::TypeKind::kFloat && dataset.kind() != hdf5::TypeKind::kInteger) {
    dataset.place().fail("does not hold numbers");
  }
  dataset.require_plausible();
  // Whole chunks at a time: a compressed chunk would else be inflated over and over.
  std::uint64_t step = block_rows(columns);
  if (const std::uint64_t chunk = dataset.chunk_rows(); chunk > 0) step = std::max(chunk, step / chunk * chunk);
  step = std::min<std::uint64_t>(step, std::max<std::size_t>(rows, 1));

  ExpressionMatrix matrix;
  matrix.rows = rows;
  matrix.indptr.reserve(rows + 1);
  matrix.indptr.push_back(0);
  std::vector<float> block(step * columns);
  for (std::uint64_t first = 0; first < rows; first += step) {
    const std::uint64_t count = std::min<std::uint64_t>(step, rows - first);
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

/// The three arrays of a compressed matrix, checked: `major` rows of CSR or columns of CSC.
struct Compressed {
  std::vector<std::int64_t> indptr;
  std::vector<std::int64_t> indices;
  std::vector<float> values;
};

Compressed read_compressed(const Group& group, std::size_t major, std::size_t minor) {
  const Dataset data = group.dataset("data"), indices = group.dataset("indices"), indptr = group.dataset("indptr");
  for (const Dataset* dataset : {&data, &indices, &indptr}) {
    if (dataset->shape().size() != 1) dataset->place().fail("is not one-dimensional");
  }
  indptr.require_shape(std::array<std::uint64_t, 1>{major + 1});
  const std::uint64_t count = data.shape()[0];
  indices.require_shape(std::array{count});

  Compressed arrays;
  arrays.indptr = indptr.read<std::int64_t>();
  if (arrays.indptr.front() != 0) indptr.place().fail(fmt::format("begins with {}, not 0", arrays.indptr.front()));
  if (!std::ranges::is_sorted(arrays.indptr)) indptr.place().fail("falls: it must not decrease");
  if (static_cast<std::uint64_t>(arrays.indptr.back()) != count) {
    indptr.place().fail(fmt::format("ends with {}, but there are {} values", arrays.indptr.back(), count));
  }
  arrays.indices = indices.read<std::int64_t>();
  for (const std::int64_t index : arrays.indices) {
    if (index < 0 || static_cast<std::uint64_t>(index) >= minor) {
      indices.place().fail(fmt::format("index {} of {}", index, minor));
    }
  }
  arrays.values = data.read<float>();
  for (std::size_t i = 0; i < arrays.values.size(); ++i) {
    if (!std::isfinite(arrays.values[i])) {
      data.place().fail(fmt::format("value {} at {}; expression must be finite", arrays.values[i], i));
    }
  }
  return arrays;
}

ExpressionMatrix from_csc(const Compressed& arrays, std::size_t rows) {
  ExpressionMatrix matrix;
  matrix.rows = rows;
  matrix.indptr.assign(rows + 1, 0);
  for (const std::int64_t row : arrays.indices) ++matrix.indptr[static_cast<std::size_t>(row) + 1];
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

}  // namespace

void sort_rows(ExpressionMatrix& matrix) {
  const auto ascending = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin + 1; i < end; ++i) {
      if (matrix.indices[i] <= matrix.indices[i - 1]) return false;
    }
    return true;
  };
  std::vector<std::pair<std::int32_t, float>> entries;
  std::size_t out = 0;
  for (std::size_t row = 0; row < matrix.rows; ++row) {
    const auto begin = static_cast<std::size_t>(matrix.indptr[row]),
               end = static_cast<std::size_t>(matrix.indptr[row + 1]);
    matrix.indptr[row] = static_cast<std::int64_t>(out);
    if (ascending(begin, end)) {
      for (std::size_t i = begin; i < end; ++i, ++out) {
        matrix.indices[out] = matrix.indices[i];
        matrix.values[out] = matrix.values[i];
      }
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

ExpressionMatrix read_compressed_rows(const Group& group, std::size_t rows, std::size_t columns) {
  Compressed arrays = read_compressed(group, rows, columns);
  ExpressionMatrix matrix;
  matrix.rows = rows;
  matrix.indptr = std::move(arrays.indptr);
  matrix.indices.assign(arrays.indices.begin(), arrays.indices.end());
  matrix.values = std::move(arrays.values);
  sort_rows(matrix);
  return matrix;
}

ExpressionMatrix read_ann_matrix(const Group& parent, const std::string& name, std::size_t rows, std::size_t columns) {
  if (columns > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    parent.place().child(name).fail(fmt::format("has {} columns", columns));
  }
  if (parent.has_dataset(name)) return read_dense(parent.dataset(name), rows, columns);
  const Group group = parent.group(name);
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
  if (encoding == "csr_matrix") return read_compressed_rows(group, rows, columns);
  return from_csc(read_compressed(group, columns, rows), rows);
}

void write_ann_matrix(Group& parent, const std::string& name, const ExpressionMatrix& matrix, std::size_t columns) {
  const std::uint64_t step =
      std::min<std::uint64_t>(block_rows(columns) / 4 + 1, std::max<std::size_t>(matrix.rows, 1));
  Dataset dataset = parent.create_dataset(name, H5T_NATIVE_FLOAT, std::array<std::uint64_t, 2>{matrix.rows, columns},
                                          std::array<std::uint64_t, 2>{step, columns});
  write_encoding(dataset, "array", "0.2.0");
  std::vector<float> block;
  for (std::uint64_t first = 0; first < matrix.rows; first += step) {
    const std::uint64_t count = std::min<std::uint64_t>(step, matrix.rows - first);
    block.assign(count * columns, 0.0f);
    for (std::size_t row = 0; row < count; ++row) {
      const auto begin = static_cast<std::size_t>(matrix.indptr[first + row]);
      const auto end = static_cast<std::size_t>(matrix.indptr[first + row + 1]);
      for (std::size_t i = begin; i < end; ++i) {
        block[row * columns + static_cast<std::size_t>(matrix.indices[i])] = matrix.values[i];
      }
    }
    dataset.write_rows(first, count, block.data());
  }
}

}  // namespace vtissue::io
