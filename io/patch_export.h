#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/patch_coordinates.h"
#include "io/slide_reader.h"
#include "io/tile_store.h"

namespace vtissue::io {

struct PatchExportOptions {
  PatchTool tool = PatchTool::kClam;
  std::string name;                ///< of the slide, without extension: the files are named by it
  std::string set = "morphology";  ///< which features
  bool tensor = true;              ///< CLAM: the .pt file beside the features
  /// CLAM reads patches from a level of the slide without resizing them; with the levels the one is named that fits
  /// best, else level 0.
  std::vector<SlideLevel> levels;
};

struct PatchExport {
  std::vector<std::filesystem::path> files;
  std::size_t patches = 0;
  std::size_t without_features = 0;  ///< tiles that the file of features leaves out, since they have none
};

/// What the tool is told of a set of tiles.
PatchLayout patch_layout(const TileSet& tiles, const PatchExportOptions& options);

/// Writes a run's tiles and, if there is such a file, its features as CLAM or TRIDENT lay them out below `out`:
/// patches/NAME.h5, h5_files/NAME.h5 and pt_files/NAME.pt, or MAGx_PXpx_OVpx_overlap/patches/NAME_patches.h5 and
/// …/features_ENCODER/NAME.h5. Each file appears whole or not at all. Throws Error kBadInput for stores that do not fit
/// each other or a set that is not there, kUsage for a name that is none of a file, kOutput, kInterrupted when
/// `stopped` says so.
PatchExport export_patches(const std::filesystem::path& tiles, const std::filesystem::path& features,
                           const std::filesystem::path& out, const PatchExportOptions& options,
                           const std::function<bool()>& stopped);

}  // namespace vtissue::io
