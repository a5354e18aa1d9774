#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "io/expression.h"

namespace vtissue::io {

/// A column of obs or var. Missing values are "" in strings; numbers and booleans with missing values
/// come as double with NaN. A categorical comes as its values.
using AnnColumn = std::variant<std::vector<std::string>, std::vector<double>, std::vector<std::int64_t>,
                               std::vector<std::uint8_t> /* bool */>;

struct AnnTable {
  std::vector<std::string> index;
  std::vector<std::pair<std::string, AnnColumn>> columns;  ///< in the file's order
  const AnnColumn* find(std::string_view name) const;
  /// The column as double, if there is one and it is numeric.
  std::optional<std::vector<double>> numbers(std::string_view name) const;
  /// The column if it holds strings, else null.
  const std::vector<std::string>* strings(std::string_view name) const;
};

/// What vtissue needs of an AnnData file. X is always float32 CSR in memory.
struct AnnData {
  ExpressionMatrix x;  ///< genes = var index, gene_ids from var where there are any
  bool has_x = true;   ///< false: the file has no X; x has its rows and genes, and no values
  AnnTable obs, var;
  std::optional<std::vector<double>> spatial;  ///< obsm/spatial, [n, 2] as (x, y)
  std::map<std::string, std::string> strings;  ///< string scalars of uns by path: "spatial/lib/metadata/…"
  std::map<std::string, double> numbers;       ///< number scalars of uns by path
  std::vector<std::string> matrices;           ///< what H5adOptions::matrix may name here; not written
};

struct H5adOptions {
  /// "X", "layers/<name>" or "raw/X"; with the last, var is raw/var.
  std::string matrix = "X";
};

/// Encodings of all versions of anndata (formats.md 3.5): dense, CSR, CSC, categorical and nullable columns, the
/// compound tables of 0.5 and 0.6, files packed by gzip (inflated into the system's temporary folder). Columns of other
/// encodings are left out. Throws Error kBadInput that names what is wrong.
AnnData read_h5ad(const std::filesystem::path& path, const H5adOptions& options = {});

class AnnMatrixRows;
class AnnMatrixWriter;
namespace hdf5 {
class File;
}

/// An AnnData file whose X is read by ranges of rows, so that a table larger than memory can be gone through. Calls
/// from several threads take turns.
class H5adRows {
 public:
  /// Throws Error kBadInput as read_h5ad(), and for a file without X.
  explicit H5adRows(const std::filesystem::path& path);
  ~H5adRows();
  H5adRows(H5adRows&&) noexcept;

  /// Everything but the entries of X: x has its rows and genes, and no values.
  const AnnData& table() const { return table_; }
  std::size_t rows() const { return table_.x.rows; }
  /// Rows [first, first + count) of X, without genes. Throws Error kBadInput, std::logic_error for rows that are
  /// not there.
  ExpressionMatrix read(std::size_t first, std::size_t count) const;

 private:
  std::unique_ptr<hdf5::File> file_;
  AnnData table_;
  std::unique_ptr<AnnMatrixRows> x_;
};

/// Writes what write_h5ad() writes, byte for byte, from rows of X as they come.
class H5adWriter {
 public:
  /// Creates the file; it is removed again unless finish() is reached. Throws Error kOutput.
  H5adWriter(const std::filesystem::path& path, std::size_t rows, std::size_t genes);
  ~H5adWriter();

  /// The next rows of X, dense [n, genes]. Throws Error kOutput, std::logic_error for too many.
  void append(std::span<const float> values);
  /// The rest; of rest.x only genes and gene_ids are looked at. Throws Error kOutput, std::logic_error if lengths do
  /// not fit.
  void finish(const AnnData& rest);

 private:
  std::size_t rows_, genes_;
  std::unique_ptr<hdf5::File> file_;
  std::unique_ptr<AnnMatrixWriter> x_;
};

/// Writes X dense float32 with deterministic bytes (no times, canonical order). obs.index has a name a
/// row; var.index may be empty (x.genes is what is written), and x.gene_ids become var's column
/// "gene_ids" if it has none. Throws Error kOutput, std::logic_error if lengths do not fit.
void write_h5ad(const std::filesystem::path& path, const AnnData& data);

}  // namespace vtissue::io
