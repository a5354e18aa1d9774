#include "io/patch_export.h"

#include <algorithm>
#include <memory>
#include <system_error>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/torch_tensor_writer.h"
#include "io/feature_store.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kRowsAtOnce = 1024;
constexpr double kLevelTolerance = 0.01;  // as TileReader's (formats.md 1.5)

void require_name(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    throw Error(ErrorCode::kUsage, "--name '{}': expected the slide's file name without extension", name);
  }
}

/// Letters of an encoder's name that a folder may have.
std::string folder_name(const std::string& encoder) {
  std::string name = encoder.empty() ? "unknown" : encoder;
  std::ranges::replace_if(
      name, [](char c) { return c == '/' || c == ' ' || c == '\\' || c == ':'; }, '_');
  return name;
}

/// The file's folder, and its temporary name.
fs::path begin(const fs::path& file) {
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  if (error) throw Error(ErrorCode::kOutput, "{}: cannot be made: {}", file.parent_path().string(), error.message());
  return temporary_name(file);
}

std::vector<Point<Level0Px>> corners_of(const TileSet& tiles) {
  std::vector<Point<Level0Px>> corners;
  corners.reserve(tiles.cells.size());
  for (const TileCell cell : tiles.cells) corners.push_back(tiles.level0_origin(cell));
  return corners;
}

/// Rows of a set that have features, in blocks.
template <typename Use>
void for_valid_rows(const FeatureReader& reader, const FeatureSetInfo& set, const std::function<bool()>& stopped,
                    Use&& use) {
  std::vector<float> values, kept;
  std::vector<std::uint8_t> valid;
  const auto dim = static_cast<std::ptrdiff_t>(set.dim);
  for (std::size_t first = 0; first < reader.cells().size(); first += kRowsAtOnce) {
    if (stopped()) throw Error(ErrorCode::kInterrupted, "stopped before the export was done");
    reader.read(set.name, first, std::min(kRowsAtOnce, reader.cells().size() - first), values, valid);
    kept.clear();
    // Of several vectors a tile the first is the tile's own.
    const std::ptrdiff_t row_values = dim * set.vectors;
    for (std::size_t i = 0; i < valid.size(); ++i) {
      if (valid[i] == 0) continue;
      const auto row = values.begin() + static_cast<std::ptrdiff_t>(i) * row_values;
      kept.insert(kept.end(), row, row + dim);
    }
    use(first, valid, kept);
  }
}

}  // namespace

PatchLayout patch_layout(const TileSet& tiles, const PatchExportOptions& options) {
  PatchLayout layout;
  layout.name = options.name;
  layout.patch_px = tiles.tile_px;
  const int stride = tiles.lattice ? tiles.lattice->stride_px : tiles.tile_px;
  layout.overlap_px = std::max(0, tiles.tile_px - stride);
  layout.scale = tiles.scale();
  layout.level0_mpp = tiles.source_mpp;
  layout.slide_size = tiles.slide_size;
  layout.level_size = {tiles.slide_size.width, tiles.slide_size.height};
  for (std::size_t level = 0; level < options.levels.size(); ++level) {
    const SlideLevel& at = options.levels[level];
    if (at.downsample > layout.scale * (1 + kLevelTolerance) || at.downsample < layout.downsample) continue;
    layout.level = static_cast<int>(level);
    layout.downsample = at.downsample;
    layout.level_size = at.size;
  }
  return layout;
}

PatchExport export_patches(const fs::path& tiles_path, const fs::path& features_path, const fs::path& out,
                           const PatchExportOptions& options, const std::function<bool()>& stopped) {
  require_name(options.name);
  const TileSet tiles = read_tiles(tiles_path);
  if (tiles.pixel_aspect != 1) {
    throw Error(ErrorCode::kBadInput,
                "{}: the slide's pixels are not square ({} times as long as wide), and neither tool can say so",
                tiles_path.string(), tiles.pixel_aspect);
  }
  const PatchLayout layout = patch_layout(tiles, options);
  const std::vector<Point<Level0Px>> corners = corners_of(tiles);
  const bool clam = options.tool == PatchTool::kClam;
  const fs::path root = clam ? out : out / trident_folder(layout);
  PatchExport result{.files = {}, .patches = corners.size()};

  // Whatever can be wrong with the features is found before the first file is written.
  std::optional<FeatureReader> reader;
  std::optional<FeatureSetInfo> set;
  if (!features_path.empty()) {
    reader.emplace(features_path);
    if (reader->cells() != tiles.cells || reader->grid() != tiles.grid() ||
        (!reader->slide_sha256().empty() && reader->slide_sha256() != tiles.slide_sha256)) {
      throw Error(ErrorCode::kBadInput, "{}: made for other tiles than {}; run embed on them", features_path.string(),
                  tiles_path.string());
    }
    set = reader->info(options.set);
  }

  const fs::path coords = root / "patches" / (clam ? options.name + ".h5" : options.name + "_patches.h5");
  fs::path temporary = begin(coords);
  write_patch_coordinates(temporary, options.tool, layout, corners);
  publish(temporary, coords);
  result.files.push_back(coords);
  if (!reader) return result;

  std::vector<Point<Level0Px>> with_features;
  for_valid_rows(*reader, *set, stopped, [&](std::size_t first, const std::vector<std::uint8_t>& valid, const auto&) {
    for (std::size_t i = 0; i < valid.size(); ++i) {
      if (valid[i] != 0) with_features.push_back(corners[first + i]);
    }
  });
  result.without_features = corners.size() - with_features.size();

  const fs::path h5 = root / (clam ? "h5_files" : "features_" + folder_name(set->encoder)) / (options.name + ".h5");
  const fs::path pt = root / "pt_files" / (options.name + ".pt");
  temporary = begin(h5);
  PatchFeatureWriter writer(temporary, options.tool, layout, with_features, set->dim, set->encoder);
  std::unique_ptr<TorchTensorWriter> tensor;
  fs::path temporary_tensor;
  if (clam && options.tensor) {
    temporary_tensor = begin(pt);
    tensor = std::make_unique<TorchTensorWriter>(temporary_tensor, static_cast<std::int64_t>(with_features.size()),
                                                 set->dim);
  }
  for_valid_rows(*reader, *set, stopped, [&](std::size_t, const auto&, const std::vector<float>& rows) {
    writer.append(rows);
    if (tensor) tensor->append(rows);
  });
  writer.finish();
  publish(temporary, h5);
  result.files.push_back(h5);
  if (tensor) {
    tensor->finish();
    publish(temporary_tensor, pt);
    result.files.push_back(pt);
  }
  return result;
}

}  // namespace vtissue::io
