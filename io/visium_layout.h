#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "io/expression.h"
#include "io/tenx_matrix.h"

/// Where the files of a Visium section are (formats.md 3.1).
namespace vtissue::io {

struct VisiumLayout {
  std::filesystem::path positions;                       ///< .csv, .csv.gz or .parquet
  std::optional<std::filesystem::path> scale_factors;    ///< .json or .json.gz
  std::variant<std::filesystem::path, MtxFiles> matrix;  ///< .h5, or the three files of MatrixMarket

  std::vector<std::filesystem::path> files() const;
};

/// `given`: outs/ of Space Ranger 1 to 4, the folder above it, a folder of bins (Visium HD), or files laid beside each
/// other as GEO has them. Names may carry a sample's prefix and .gz. Of outs/ with binned_outputs/ the bins of
/// `bin_um`. The filtered matrix is preferred to the raw one. Throws Error kBadInput that says what is missing.
VisiumLayout find_visium(const std::filesystem::path& given, int bin_um);

/// Positions of all spots of the array.
struct TissuePositions {
  std::vector<std::string> barcodes;  ///< unique
  std::vector<std::uint8_t> in_tissue;
  std::vector<std::int64_t> array_row, array_column;
  std::vector<double> x, y;  ///< centres, full-resolution pixels
};

/// tissue_positions.csv and its kin, with or without header, plain or gzip, or Parquet. Throws Error kBadInput.
TissuePositions read_tissue_positions(const std::filesystem::path& path);

/// What scalefactors_json.json states, in full-resolution pixels.
struct ScaleFactors {
  std::optional<double> spot_diameter_px;
  std::optional<double> bin_um, mpp;  ///< Visium HD alone
};

/// Unknown keys are passed over. Throws Error kBadInput.
ScaleFactors read_scale_factors(const std::filesystem::path& path);

}  // namespace vtissue::io
