#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/anndata.h"
#include "io/expression.h"

namespace vtissue::io {
namespace fs = std::filesystem;

namespace {

/// log1p of counts per 10,000 cannot exceed ln(10,001) = 9.2; some pipelines scale to a larger total.
constexpr float kLargestLog = 15.0f;
constexpr double kVisiumPitchUm = 100;

bool are_counts(const ExpressionMatrix& matrix) {
  return !matrix.values.empty() &&
         std::ranges::all_of(matrix.values, [](float value) { return value >= 0 && value == std::floor(value); });
}

/// HEST's metadata/<id>.json of st/<id>.h5ad (formats.md 3.6); null where there is none.
nlohmann::json hest_metadata(const fs::path& path, std::string& file) {
  if (path.parent_path().filename() != "st") return nullptr;
  std::string id = path.filename().string();
  id = id.substr(0, id.find(".h5ad"));
  const fs::path metadata = path.parent_path().parent_path() / "metadata" / (id + ".json");
  std::ifstream stream(metadata);
  if (!stream) return nullptr;
  file = metadata.string();
  nlohmann::json parsed = nlohmann::json::parse(stream, nullptr, false);
  if (!parsed.is_object()) throw Error(ErrorCode::kBadInput, "{}: is not a JSON object", file);
  return parsed;
}

/// What HEST states about a section's image. Its spot_diameter and inter_spot_dist are µm.
void take_hest_metadata(SpotTable& table, const fs::path& path) {
  std::string file;
  const nlohmann::json metadata = hest_metadata(path, file);
  if (metadata.is_null()) return;
  const auto number = [&](const char* key) -> std::optional<double> {
    const auto found = metadata.find(key);
    if (found == metadata.end() || found->is_null()) return std::nullopt;
    if (!found->is_number() || !(found->get<double>() > 0)) {
      throw Error(ErrorCode::kBadInput, "{}: {} is {}, expected a number above 0", file, key, found->dump());
    }
    return found->get<double>();
  };
  table.mpp = number("pixel_size_um_estimated");
  const auto width = number("fullres_px_width") ? number("fullres_px_width") : number("fullres_width");
  const auto height = number("fullres_px_height") ? number("fullres_px_height") : number("fullres_height");
  if (width && height && std::max(*width, *height) < 1e9) {
    table.image_size = {static_cast<std::int64_t>(*width), static_cast<std::int64_t>(*height)};
  }
}

/// X if it holds whole numbers, else another matrix of the file that does, else X.
AnnData read_with_counts(const fs::path& path) {
  AnnData data = read_h5ad(path);
  if (data.has_x && (are_counts(data.x) || data.x.values.empty())) return data;
  for (const char* name : {"layers/counts", "raw/X"}) {
    if (std::ranges::find(data.matrices, name) == data.matrices.end()) continue;
    AnnData other = read_h5ad(path, {.matrix = name});
    if (are_counts(other.x)) return other;
  }
  if (!data.has_x) {
    throw Error(ErrorCode::kBadInput, "{}: has no expression: X, layers/counts and raw/X are all missing",
                path.string());
  }
  return data;
}

/// Genes named by symbol where the file has both: var's index is then the id.
void prefer_symbols(AnnData& data) {
  const bool by_id = !data.x.genes.empty() &&
                     std::ranges::all_of(data.x.genes, [](const std::string& gene) { return gene.starts_with("ENS"); });
  if (!by_id) return;
  if (data.x.gene_ids.empty()) data.x.gene_ids = data.x.genes;
  for (const std::string_view name :
       {"gene_symbols", "gene_symbol", "symbol", "feature_name", "gene_name", "gene_names"}) {
    if (const auto* symbols = data.var.strings(name)) {
      data.x.genes = *symbols;
      return;
    }
  }
}

struct Centres {
  std::vector<double> x, y;
};

/// DeepSpot's layout (formats.md 3.7): obs has x_pixel = row and y_pixel = column in level-0 pixels,
/// and obsm/spatial, where there is one, is the same in pixels of a thumbnail: (y_pixel, x_pixel) / factor.
std::optional<Centres> deepspot_centres(const AnnData& data) {
  const auto rows = data.obs.numbers("x_pixel"), columns = data.obs.numbers("y_pixel");
  if (!rows || !columns || data.obs.find("x_array") == nullptr || data.obs.find("y_array") == nullptr)
    return std::nullopt;
  const bool finite = std::ranges::all_of(*rows, [](double v) { return std::isfinite(v); }) &&
                      std::ranges::all_of(*columns, [](double v) { return std::isfinite(v); });
  if (!finite) return std::nullopt;
  if (data.spatial) {
    double full = 0, thumbnail = 0;
    for (std::size_t i = 0; i < rows->size(); ++i) {
      full += (*columns)[i] + (*rows)[i];
      thumbnail += (*data.spatial)[2 * i] + (*data.spatial)[2 * i + 1];
    }
    const double factor = full / thumbnail;
    if (!std::isfinite(factor) || factor < 0.99) return std::nullopt;
    // Thumbnail coordinates may have been rounded to whole pixels.
    for (std::size_t i = 0; i < rows->size(); ++i) {
      const double off_x = (*data.spatial)[2 * i] * factor - (*columns)[i];
      const double off_y = (*data.spatial)[2 * i + 1] * factor - (*rows)[i];
      if (std::max(std::abs(off_x), std::abs(off_y)) > factor + 0.01 * ((*columns)[i] + (*rows)[i]))
        return std::nullopt;
    }
  }
  return Centres{*columns, *rows};
}

Centres centres_of(const AnnData& data, const fs::path& path) {
  if (auto centres = deepspot_centres(data)) return std::move(*centres);
  if (!data.spatial) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: has no obsm/spatial, so its spots have no place on the slide; store (x, y) in level-0 pixels there",
        path.string());
  }
  Centres centres;
  for (std::size_t i = 0; i < data.obs.index.size(); ++i) {
    centres.x.push_back((*data.spatial)[2 * i]);
    centres.y.push_back((*data.spatial)[2 * i + 1]);
  }
  return centres;
}

/// Of uns/spatial/<section>/scalefactors; a file of several sections cannot belong to one slide.
std::optional<double> spot_diameter(const AnnData& data, const fs::path& path) {
  constexpr std::string_view kPrefix = "spatial/", kSuffix = "/scalefactors/spot_diameter_fullres";
  std::vector<std::string> sections;
  std::optional<double> diameter;
  for (const auto& [name, value] : data.numbers) {
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) continue;
    sections.push_back(name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size()));
    diameter = value;
  }
  if (sections.size() > 1) {
    throw Error(ErrorCode::kBadInput, "{}: holds {} sections ({}); write one file a section", path.string(),
                sections.size(), fmt::join(sections, ", "));
  }
  if (diameter && !(*diameter > 0 && std::isfinite(*diameter))) {
    throw Error(ErrorCode::kBadInput, "{}: spot_diameter_fullres is {}", path.string(), *diameter);
  }
  return diameter;
}

std::optional<std::vector<std::int64_t>> whole_numbers(const AnnTable& obs, std::string_view name) {
  const AnnColumn* column = obs.find(name);
  const auto* integers = column == nullptr ? nullptr : std::get_if<std::vector<std::int64_t>>(column);
  return integers == nullptr ? std::nullopt : std::optional(*integers);
}

template <typename T>
std::vector<T> pick(const std::vector<T>& values, const std::vector<std::size_t>& rows) {
  std::vector<T> picked;
  picked.reserve(rows.size());
  for (const std::size_t row : rows) picked.push_back(values[row]);
  return picked;
}

}  // namespace

SpotTable read_h5ad_spots(const fs::path& path) {
  AnnData data = read_with_counts(path);
  SpotTable table;
  table.source = "h5ad";
  if (!are_counts(data.x) && !data.x.values.empty()) {
    const auto [least, most] = std::ranges::minmax(data.x.values);
    if (least < 0) {
      throw Error(
          ErrorCode::kBadInput,
          "{}: X has negative values (down to {}), so it is scaled data; store the counts in layers/counts or X",
          path.string(), least);
    }
    table.log_normalized = most <= kLargestLog;
  }
  prefer_symbols(data);
  const Centres centres = centres_of(data, path);
  table.spot_diameter_px = spot_diameter(data, path);

  const auto array_row = whole_numbers(data.obs, "array_row"), array_column = whole_numbers(data.obs, "array_col");
  if (array_row && array_column) table.pitch_px = hexagonal_pitch(*array_row, *array_column, centres.x, centres.y);
  if (table.pitch_px) {
    table.pitch_um = kVisiumPitchUm;
  } else {
    table.pitch_px = median_neighbor_distance(centres.x, centres.y);
  }

  const auto in_tissue = data.obs.numbers("in_tissue");
  std::vector<std::size_t> rows;
  for (std::size_t row = 0; row < data.obs.index.size(); ++row) {
    if (!in_tissue || (*in_tissue)[row] != 0) rows.push_back(row);
  }
  if (rows.empty()) throw Error(ErrorCode::kBadInput, "{}: has no spots in tissue", path.string());
  table.barcodes = pick(data.obs.index, rows);
  table.x = pick(centres.x, rows);
  table.y = pick(centres.y, rows);
  table.counts = rows.size() == data.x.rows ? std::move(data.x) : select_rows(data.x, rows);
  take_hest_metadata(table, path);
  return table;
}

}  // namespace vtissue::io
