#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.h"

namespace vtissue::io {

/// Whose files of patches: CLAM's or TRIDENT's (formats.md 3.8).
enum class PatchTool { kClam, kTrident };
std::string_view to_string(PatchTool tool);  ///< "clam", "trident"

/// The places of a slide's patches as such a file states them.
struct PatchCoordinates {
  PatchTool tool = PatchTool::kClam;
  std::vector<Point<Level0Px>> corners;  ///< upper left ones, in the file's order
  double side_px = 0;                    ///< level-0 pixels that a patch covers both ways
  double side_rounding_px = 0.5;         ///< by which it may be rounded
  std::optional<double> stride_px;       ///< level-0 pixels from a patch to the next, where the file states it
  std::optional<Size<Level0Px>> slide_size;
};

/// CLAM's patches/<slide>.h5 or TRIDENT's patches/<slide>_patches.h5, told apart by their attributes; the coordinates
/// [N, 2] or [1, N, 2] of any number type. Throws Error kBadInput: damaged, no patches, coordinates that are no whole
/// numbers or out of range, attributes that are missing or no sizes.
PatchCoordinates read_patch_coordinates(const std::filesystem::path& path);

/// Features of patches: CLAM's h5_files/<slide>.h5 or TRIDENT's features_<encoder>/<slide>.h5. Reads take turns.
class PatchFeatures {
 public:
  /// Features [N, D] or [1, N, D] of floats beside the coordinates of the N patches. Throws Error kBadInput.
  explicit PatchFeatures(const std::filesystem::path& path);
  ~PatchFeatures();
  PatchFeatures(PatchFeatures&&) noexcept;

  const std::vector<Point<Level0Px>>& corners() const;
  int dim() const;
  const std::string& encoder() const;     ///< as TRIDENT names it; empty if the file does not
  std::optional<double> side_px() const;  ///< level-0 pixels of a patch, where the file states it
  /// Rows [first, first + count) into out [count, dim]. Throws Error kBadInput for values that are not finite.
  void read(std::size_t first, std::size_t count, std::span<float> out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What the attributes of both tools are made from.
struct PatchLayout {
  std::string name;       ///< the slide's, without extension
  int patch_px = 0;       ///< side at the target µm/px
  int overlap_px = 0;     ///< at the target µm/px
  double scale = 1;       ///< level-0 pixels per target pixel
  double level0_mpp = 0;  ///< µm/px
  Size<Level0Px> slide_size;
  int level = 0;             ///< CLAM: the level that patches are to be read from
  double downsample = 1;     ///< of that level
  Size<LevelPx> level_size;  ///< of that level
};

/// Magnification that TRIDENT calls a slide of `mpp` µm/px: 80, 60, 40, 20, 10 or 5.
int nominal_magnification(double mpp);

/// "14.29x_128px_0px_overlap": TRIDENT's folder of patches of this size.
std::string trident_folder(const PatchLayout& layout);

/// Writes coordinates with the tool's attributes; no path of this machine among them. Datasets may grow, and lie in
/// chunks of many rows. Throws Error kOutput.
void write_patch_coordinates(const std::filesystem::path& path, PatchTool tool, const PatchLayout& layout,
                             std::span<const Point<Level0Px>> corners);

/// Writes features row by row beside their coordinates. Single thread.
class PatchFeatureWriter {
 public:
  /// The file is removed again unless finish() is reached. Throws Error kOutput.
  PatchFeatureWriter(const std::filesystem::path& path, PatchTool tool, const PatchLayout& layout,
                     std::span<const Point<Level0Px>> corners, int dim, const std::string& encoder);
  ~PatchFeatureWriter();
  PatchFeatureWriter(const PatchFeatureWriter&) = delete;
  PatchFeatureWriter& operator=(const PatchFeatureWriter&) = delete;

  /// The next rows, [n, dim]. Throws Error kOutput, std::logic_error for more than there are corners.
  void append(std::span<const float> rows);
  /// Throws std::logic_error unless there is a row a corner, Error kOutput.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vtissue::io
