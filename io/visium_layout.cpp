#include "io/visium_layout.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/delimited.h"

namespace vtissue::io {
namespace fs = std::filesystem;

namespace {

/// `folder`/`name`, or the only file there whose name is a sample's prefix and `name`; with or without .gz.
std::optional<fs::path> find_named(const fs::path& folder, const std::string& name) {
  std::error_code error;
  for (const char* packed : {"", ".gz"}) {
    const std::string whole = name + packed;
    if (fs::exists(folder / whole, error)) return folder / whole;
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      const std::string candidate = entry.path().filename().string();
      if (candidate.size() <= whole.size() || !candidate.ends_with(whole)) continue;
      if (std::string_view("_-.").find(candidate[candidate.size() - whole.size() - 1]) == std::string_view::npos)
        continue;
      found.push_back(entry.path());
    }
    if (found.size() > 1) {
      throw Error(ErrorCode::kBadInput, "{}: has {} files ending with {}; keep one sample a folder", folder.string(),
                  found.size(), whole);
    }
    if (!found.empty()) return found.front();
  }
  return std::nullopt;
}

std::optional<fs::path> find_first(const fs::path& folder, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (auto found = find_named(folder, name)) return found;
  }
  return std::nullopt;
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

fs::path required(const fs::path& folder, std::initializer_list<const char*> names) {
  if (auto found = find_first(folder, names)) return *found;
  throw Error(ErrorCode::kBadInput, "{}: has none of {}", folder.string(), fmt::join(names, ", "));
}

MtxFiles mtx_files(const fs::path& folder) {
  return {required(folder, {"matrix.mtx"}), required(folder, {"barcodes.tsv"}),
          required(folder, {"features.tsv", "genes.tsv"})};
}

std::optional<std::variant<fs::path, MtxFiles>> find_matrix_files(const fs::path& folder) {
  for (const char* name : {"filtered_feature_bc_matrix", "raw_feature_bc_matrix"}) {
    if (const auto file = find_named(folder, name + std::string(".h5"))) return *file;
    if (const auto inner = find_named(folder, name); inner && is_folder(*inner)) return mtx_files(*inner);
  }
  if (find_named(folder, "matrix.mtx")) return mtx_files(folder);
  return std::nullopt;
}

std::optional<fs::path> find_spatial(const fs::path& folder, std::initializer_list<const char*> names) {
  for (const fs::path& place : {folder / "spatial", folder}) {
    if (auto found = find_first(place, names)) return found;
  }
  return std::nullopt;
}

/// The bins of Visium HD in outs/; nothing if there are none.
std::optional<fs::path> find_bins(const fs::path& outs, int bin_um) {
  const fs::path all = outs.filename() == "binned_outputs" ? outs : outs / "binned_outputs";
  if (!is_folder(all)) {
    if (is_folder(outs / "segmented_outputs")) {
      throw Error(ErrorCode::kBadInput,
                  "{}: has cells (segmented_outputs) and no bins; give outs with binned_outputs, or the cells as .h5ad "
                  "with obsm/spatial",
                  outs.string());
    }
    return std::nullopt;
  }
  const fs::path bins = all / fmt::format("square_{:03}um", bin_um);
  if (is_folder(bins)) return bins;
  std::vector<std::string> there;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(all, error)) there.push_back(entry.path().filename().string());
  std::ranges::sort(there);
  throw Error(ErrorCode::kBadInput, "{}: has no bins of {} µm (it has: {}); choose with express.bin_um", all.string(),
              bin_um, fmt::join(there, ", "));
}

fs::path section_folder(const fs::path& given, int bin_um) {
  if (!is_folder(given)) throw Error(ErrorCode::kBadInput, "{}: no such folder", given.string());
  if (find_matrix_files(given)) return given;
  for (const fs::path& outs : {given, given / "outs"}) {
    if (auto bins = find_bins(outs, bin_um)) return *bins;
  }
  return is_folder(given / "outs") ? given / "outs" : given;
}

std::optional<double> positive_number(const nlohmann::json& scale, const char* key, const fs::path& path) {
  const auto found = scale.find(key);
  if (found == scale.end() || found->is_null()) return std::nullopt;
  if (!found->is_number() || !(found->get<double>() > 0) || !std::isfinite(found->get<double>())) {
    throw Error(ErrorCode::kBadInput, "{}: {} is {}", path.string(), key, found->dump());
  }
  return found->get<double>();
}

}  // namespace

std::vector<fs::path> VisiumLayout::files() const {
  std::vector<fs::path> files{positions};
  if (scale_factors) files.push_back(*scale_factors);
  if (const auto* h5 = std::get_if<fs::path>(&matrix)) {
    files.push_back(*h5);
  } else {
    const MtxFiles& mtx = std::get<MtxFiles>(matrix);
    files.insert(files.end(), {mtx.matrix, mtx.barcodes, mtx.features});
  }
  return files;
}

VisiumLayout find_visium(const fs::path& given, int bin_um) {
  const fs::path folder = section_folder(given, bin_um);
  VisiumLayout layout;
  const auto positions =
      find_spatial(folder, {"tissue_positions.csv", "tissue_positions_list.csv", "tissue_positions.parquet"});
  if (!positions) {
    throw Error(ErrorCode::kBadInput,
                "{}: has no tissue_positions.csv, tissue_positions_list.csv or tissue_positions.parquet in spatial/; "
                "give the outs folder of Space Ranger",
                folder.string());
  }
  layout.positions = *positions;
  layout.scale_factors = find_spatial(folder, {"scalefactors_json.json"});
  const auto matrix = find_matrix_files(folder);
  if (!matrix) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: has neither filtered_feature_bc_matrix.h5 nor the folder filtered_feature_bc_matrix{}; give the "
        "outs folder of Space Ranger",
        folder.string(),
        find_first(folder, {"raw_probe_bc_matrix.h5"}) ? " (raw_probe_bc_matrix.h5 counts probes, not genes)" : "");
  }
  layout.matrix = *matrix;
  return layout;
}

ScaleFactors read_scale_factors(const fs::path& path) {
  LineReader reader(path);
  std::string text;
  for (std::string_view line; reader.next(line);) text.append(line).push_back('\n');
  const nlohmann::json scale = nlohmann::json::parse(text, nullptr, false);
  if (!scale.is_object()) throw Error(ErrorCode::kBadInput, "{}: is not a JSON object", path.string());
  return {.spot_diameter_px = positive_number(scale, "spot_diameter_fullres", path),
          .bin_um = positive_number(scale, "bin_size_um", path),
          .mpp = positive_number(scale, "microns_per_pixel", path)};
}

}  // namespace vtissue::io
