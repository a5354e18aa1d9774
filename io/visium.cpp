#include <algorithm>
#include <unordered_map>

#include "core/error.h"
#include "io/expression.h"
#include "io/tenx_matrix.h"
#include "io/visium_layout.h"

namespace vtissue::io {
namespace fs = std::filesystem;

namespace {

constexpr double kSpotPitchUm = 100;  // formats.md 3.2

TenxMatrix read_counts(const VisiumLayout& layout, const GeneFilter& keep) {
  if (const auto* h5 = std::get_if<fs::path>(&layout.matrix)) return read_tenx_h5(*h5, keep);
  return read_tenx_mtx(std::get<MtxFiles>(layout.matrix), keep);
}

/// Scale and pitch, as the array and the scale factors tell them.
void set_geometry(SpotTable& table, const TissuePositions& positions, const ScaleFactors& scale) {
  table.spot_diameter_px = scale.spot_diameter_px;
  table.mpp = scale.mpp;
  if (scale.bin_um) {
    table.source = "visium-hd";
    table.pitch_px = square_pitch(positions.array_row, positions.array_column, positions.x, positions.y);
    table.pitch_um = scale.bin_um;
    return;
  }
  table.pitch_px = hexagonal_pitch(positions.array_row, positions.array_column, positions.x, positions.y);
  if (table.pitch_px) table.pitch_um = kSpotPitchUm;
}

}  // namespace

std::vector<fs::path> visium_files(const fs::path& given, int bin_um) {
  std::vector<fs::path> files = find_visium(given, bin_um).files();
  for (fs::path& file : files) file = file.lexically_relative(given);
  std::ranges::sort(files);
  return files;
}

SpotTable read_visium(const fs::path& given, const VisiumOptions& options) {
  const VisiumLayout layout = find_visium(given, options.bin_um);
  // The small tables first: what is wrong with the folder shows at once.
  const ScaleFactors scale = layout.scale_factors ? read_scale_factors(*layout.scale_factors) : ScaleFactors{};
  const TissuePositions positions = read_tissue_positions(layout.positions);
  TenxMatrix matrix = read_counts(layout, options.keep);

  std::unordered_map<std::string_view, std::size_t> position_of;
  position_of.reserve(positions.barcodes.size());
  for (std::size_t i = 0; i < positions.barcodes.size(); ++i) position_of.emplace(positions.barcodes[i], i);
  SpotTable table;
  table.source = "visium";
  std::vector<std::size_t> rows;
  std::size_t unknown = 0;
  std::string_view first_unknown;
  for (std::size_t row = 0; row < matrix.barcodes.size(); ++row) {
    const auto found = position_of.find(matrix.barcodes[row]);
    if (found == position_of.end()) {
      if (unknown++ == 0) first_unknown = matrix.barcodes[row];
      continue;
    }
    if (positions.in_tissue[found->second] == 0) continue;
    rows.push_back(row);
    table.x.push_back(positions.x[found->second]);
    table.y.push_back(positions.y[found->second]);
  }
  if (unknown > 0) {
    throw Error(ErrorCode::kBadInput,
                "{}: {} of {} barcodes of the matrix have no position (the first: {}); do matrix and positions belong "
                "to the same sample?",
                layout.positions.string(), unknown, matrix.barcodes.size(), first_unknown);
  }
  if (rows.empty()) throw Error(ErrorCode::kBadInput, "{}: no spot is in tissue", layout.positions.string());
  if (rows.size() == matrix.barcodes.size()) {
    table.counts = std::move(matrix.counts);
    table.barcodes = std::move(matrix.barcodes);
  } else {
    table.counts = select_rows(matrix.counts, rows);
    for (const std::size_t row : rows) table.barcodes.push_back(std::move(matrix.barcodes[row]));
  }
  set_geometry(table, positions, scale);
  return table;
}

}  // namespace vtissue::io
