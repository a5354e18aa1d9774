#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/units.h"

namespace vtissue::io {

/// Sparse counts [spots, genes] in CSR order.
struct ExpressionMatrix {
  std::size_t rows = 0;
  std::vector<std::string> genes;     ///< column names as in the file, not always unique
  std::vector<std::string> gene_ids;  ///< Ensembl ids where the file has them, else empty
  std::vector<std::int64_t> indptr;   ///< [rows + 1]
  std::vector<std::int32_t> indices;  ///< column of each entry, ascending within a row
  std::vector<float> values;
  /// [rows] sums over all genes of the file, where genes were left out when it was read; else empty.
  std::vector<double> totals;
};

/// Which genes a reader keeps: called once with the file's symbols and ids (the latter may be empty), returns [genes],
/// not 0 for those to keep. Spots' totals go over all genes all the same.
using GeneFilter =
    std::function<std::vector<std::uint8_t>(std::span<const std::string> genes, std::span<const std::string> ids)>;

/// Spots of a slide with their expression; row i of everything is the same spot.
struct SpotTable {
  std::vector<std::string> barcodes;
  std::vector<double> x, y;  ///< centres in level-0 pixels of the slide
  ExpressionMatrix counts;
  /// The values are not counts but log1p of counts per 10,000 already (predicted expression).
  bool log_normalized = false;
  /// Level-0 pixels, as the file states it (Space Ranger's is some 65 µm, not 55).
  std::optional<double> spot_diameter_px;
  std::optional<double> pitch_px;  ///< median distance of neighbouring spots, level-0 pixels
  /// The array's pitch where it is known: 100 Visium, 200 legacy ST, the bins' side of Visium HD.
  std::optional<double> pitch_um;
  std::optional<double> mpp;                 ///< µm/px of level 0 where the file states it
  std::optional<Size<Level0Px>> image_size;  ///< of the image that x and y belong to, where the file states it
  std::string source;                        ///< "visium", "visium-hd", "h5ad", "st"
};

struct VisiumOptions {
  int bin_um = 8;   ///< which bins of Visium HD
  GeneFilter keep;  ///< empty: all genes
};

/// Space Ranger's outs/ folder, versions 1 to 4 (or the one above it, or a folder of bins, or the same files beside
/// each other as GEO has them): the filtered matrix, else the raw one, .h5 or MatrixMarket; tissue_positions with or
/// without header, .csv or .parquet; scalefactors_json.json; names may carry a sample's prefix. In-tissue spots only,
/// joined on barcode, in the matrix' order. Throws Error kBadInput.
SpotTable read_visium(const std::filesystem::path& folder, const VisiumOptions& options = {});

/// The files of it that read_visium() opens, relative to the folder, sorted. Throws Error kBadInput.
std::vector<std::filesystem::path> visium_files(const std::filesystem::path& folder, int bin_um = 8);

/// Legacy ST as published for her2st: counts (rows `XxY`, columns gene symbols; .tsv or .tsv.gz) and a
/// selection table with x, y, pixel_x, pixel_y, selected. Spots with selected = 1, in the order of the
/// counts. Throws Error kBadInput.
SpotTable read_legacy_st(const std::filesystem::path& counts, const std::filesystem::path& selection);

/// `.h5ad` (or gzip of one): counts from X, layers/counts or raw/X, whichever holds whole numbers,
/// else X as it is; obsm/spatial as (x, y) in level-0 pixels, or the pixel columns of DeepSpot's files. Rows with
/// in_tissue = 0 are left out. In HEST's folders (st/ beside metadata/) the section's metadata tell scale, pitch and
/// the image's size. Throws Error kBadInput.
SpotTable read_h5ad_spots(const std::filesystem::path& path);

/// The rows of `matrix` in the given order.
ExpressionMatrix select_rows(const ExpressionMatrix& matrix, std::span<const std::size_t> rows);

/// The columns of `matrix` for which `keep` [genes] is not 0, in their order.
ExpressionMatrix select_columns(const ExpressionMatrix& matrix, std::span<const std::uint8_t> keep);

/// Median distance of a spot to its nearest neighbour, px; nothing for fewer than two spots. Of a very
/// large table every k-th spot is asked.
std::optional<double> median_neighbor_distance(std::span<const double> x, std::span<const double> y);

/// Pitch of a hexagonal Visium array: median distance of (row, column) to (row, column + 2)
/// (formats.md 3.2), px. Nothing if the array is not one (row + column odd anywhere) or has no such pair.
std::optional<double> hexagonal_pitch(std::span<const std::int64_t> array_row,
                                      std::span<const std::int64_t> array_column, std::span<const double> x,
                                      std::span<const double> y);

/// Pitch of a square array: median distance of spots one row or one column apart, px. Unlike the
/// nearest neighbour it is not drawn down by spots that were printed off their place.
std::optional<double> square_pitch(std::span<const std::int64_t> array_row, std::span<const std::int64_t> array_column,
                                   std::span<const double> x, std::span<const double> y);

}  // namespace vtissue::io
