#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "core/error.h"
#include "io/delimited.h"
#include "io/expression.h"
#include "io/tenx_matrix.h"

namespace vtissue::io {
namespace fs = std::filesystem;

namespace {

constexpr double kPitchUm = 100;  // formats.md 3.2

struct Positions {
  std::vector<std::string> barcodes;
  std::vector<std::uint8_t> in_tissue;
  std::vector<std::int64_t> array_row, array_column;
  std::vector<double> x, y;
};

/// `folder`/`name`, or the only file there whose name ends with `_name` (a sample's prefix).
std::optional<fs::path> find_file(const fs::path& folder, const std::string& name) {
  std::error_code error;
  if (fs::exists(folder / name, error)) return folder / name;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().ends_with("_" + name)) found.push_back(entry.path());
  }
  if (found.size() > 1) {
    throw Error(ErrorCode::kBadInput, "{}: has {} files ending with _{}; keep one sample a folder", folder.string(),
                found.size(), name);
  }
  if (found.empty()) return std::nullopt;
  return found.front();
}

TenxMatrix read_matrix(const fs::path& folder) {
  if (const auto file = find_file(folder, "filtered_feature_bc_matrix.h5")) return read_tenx_h5(*file);
  if (const auto matrix_folder = find_file(folder, "filtered_feature_bc_matrix")) return read_tenx_mtx(*matrix_folder);
  throw Error(ErrorCode::kBadInput,
              "{}: has neither filtered_feature_bc_matrix.h5 nor the folder filtered_feature_bc_matrix; give the outs "
              "folder of Space Ranger",
              folder.string());
}

fs::path find_positions(const fs::path& folder) {
  const fs::path spatial = folder / "spatial";
  for (const char* name : {"tissue_positions.csv", "tissue_positions_list.csv"}) {
    if (const auto file = find_file(spatial, name)) return *file;
  }
  if (find_file(spatial, "tissue_positions.parquet")) {
    throw Error(ErrorCode::kBadInput,
                "{}: positions are Parquet (Visium HD), which is not read; write the bins as .h5ad with obsm/spatial",
                spatial.string());
  }
  throw Error(ErrorCode::kBadInput, "{}: has neither tissue_positions.csv nor tissue_positions_list.csv",
              spatial.string());
}

Positions read_positions(const fs::path& path) {
  constexpr std::size_t kColumns =
      6;  // barcode, in_tissue, array_row, array_col, pxl_row_in_fullres, pxl_col_in_fullres
  Positions positions;
  LineReader reader(path);
  std::vector<std::string_view> fields;
  std::unordered_map<std::string, std::size_t> seen;
  for (std::string_view line; reader.next(line);) {
    // Space Ranger's own rule; the file's name does not tell whether there is a header.
    if (reader.line_number() == 1 && line.find_first_of("0123456789") == std::string_view::npos) continue;
    if (line.empty()) continue;
    split_fields(line, ',', fields);
    if (fields.size() != kColumns) reader.fail(fmt::format("has {} columns, expected {}", fields.size(), kColumns));
    const auto in_tissue = parse_number(fields[1]);
    const auto row = parse_number(fields[2]), column = parse_number(fields[3]);
    const auto y = parse_number(fields[4]), x = parse_number(fields[5]);
    if (!in_tissue || !row || !column || !y || !x) reader.fail("expected a barcode and five numbers");
    if (!std::isfinite(*x) || !std::isfinite(*y) || std::abs(*row) > 1e6 || std::abs(*column) > 1e6) {
      reader.fail("the position is out of range");
    }
    if (*in_tissue != 0 && *in_tissue != 1) reader.fail(fmt::format("in_tissue is {}, expected 0 or 1", *in_tissue));
    const auto [first, inserted] = seen.emplace(fields[0], reader.line_number());
    if (!inserted) reader.fail(fmt::format("barcode {} is in line {} already", fields[0], first->second));
    positions.barcodes.emplace_back(fields[0]);
    positions.in_tissue.push_back(*in_tissue == 1 ? 1 : 0);
    positions.array_row.push_back(static_cast<std::int64_t>(*row));
    positions.array_column.push_back(static_cast<std::int64_t>(*column));
    positions.x.push_back(*x);
    positions.y.push_back(*y);
  }
  if (positions.barcodes.empty()) throw Error(ErrorCode::kBadInput, "{}: has no spots", path.string());
  return positions;
}

std::optional<double> read_spot_diameter(const fs::path& folder) {
  const auto path = find_file(folder / "spatial", "scalefactors_json.json");
  if (!path) return std::nullopt;
  std::ifstream stream(*path);
  const nlohmann::json scale = nlohmann::json::parse(stream, nullptr, false);
  if (!scale.is_object()) throw Error(ErrorCode::kBadInput, "{}: is not a JSON object", path->string());
  const auto found = scale.find("spot_diameter_fullres");
  if (found == scale.end()) return std::nullopt;
  if (!found->is_number() || found->get<double>() <= 0) {
    throw Error(ErrorCode::kBadInput, "{}: spot_diameter_fullres is {}", path->string(), found->dump());
  }
  return found->get<double>();
}

/// The folder itself, or its outs/. Throws Error kBadInput if there is none.
fs::path outs_folder(const fs::path& given) {
  std::error_code error;
  if (!fs::is_directory(given, error)) throw Error(ErrorCode::kBadInput, "{}: no such folder", given.string());
  const bool has_matrix =
      find_file(given, "filtered_feature_bc_matrix.h5") || find_file(given, "filtered_feature_bc_matrix");
  return !has_matrix && fs::is_directory(given / "outs", error) ? given / "outs" : given;
}

}  // namespace

std::vector<fs::path> visium_files(const fs::path& given) {
  const fs::path folder = outs_folder(given);
  std::vector<fs::path> files = {find_positions(folder)};
  if (const auto scale = find_file(folder / "spatial", "scalefactors_json.json")) files.push_back(*scale);
  if (const auto matrix = find_file(folder, "filtered_feature_bc_matrix.h5")) {
    files.push_back(*matrix);
  } else if (const auto matrix_folder = find_file(folder, "filtered_feature_bc_matrix")) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(*matrix_folder, error)) {
      if (entry.is_regular_file(error)) files.push_back(entry.path());
    }
  }
  for (fs::path& file : files) file = file.lexically_relative(given);
  std::sort(files.begin(), files.end());
  return files;
}

SpotTable read_visium(const fs::path& given) {
  const fs::path folder = outs_folder(given);
  // The small table first: what is wrong with the folder shows at once.
  const fs::path positions_path = find_positions(folder);
  const Positions positions = read_positions(positions_path);
  TenxMatrix matrix = read_matrix(folder);

  std::unordered_map<std::string_view, std::size_t> position_of;
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
    table.barcodes.push_back(matrix.barcodes[row]);
    table.x.push_back(positions.x[found->second]);
    table.y.push_back(positions.y[found->second]);
  }
  if (unknown > 0) {
    throw Error(ErrorCode::kBadInput,
                "{}: {} of {} barcodes of the matrix have no position (the first: {}); do matrix and positions belong "
                "to the same sample?",
                positions_path.string(), unknown, matrix.barcodes.size(), first_unknown);
  }
  if (rows.empty()) throw Error(ErrorCode::kBadInput, "{}: no spot is in tissue", positions_path.string());
  table.counts = rows.size() == matrix.barcodes.size() ? std::move(matrix.counts) : select_rows(matrix.counts, rows);
  table.spot_diameter_px = read_spot_diameter(folder);
  table.pitch_px = hexagonal_pitch(positions.array_row, positions.array_column, positions.x, positions.y);
  if (table.pitch_px) table.pitch_um = kPitchUm;
  return table;
}

}  // namespace vtissue::io
