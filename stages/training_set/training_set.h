#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vtissue::stages {

/// One section of a training set's manifest.
struct TrainingSection {
  std::string name;
  std::filesystem::path slide;
  std::optional<double> slide_mpp;                    ///< µm/px of level 0, if the file has none
  std::optional<std::array<std::int64_t, 4>> region;  ///< x, y, width, height in level-0 px; absent: the whole slide
  std::filesystem::path st_counts, st_spots;          ///< legacy ST tables, both or neither
  std::filesystem::path visium, h5ad;                 ///< or one of these
  std::string split;                                  ///< "train" or "val"
  std::string licence, source;                        ///< for the model card
};

/// What `vtissue train prepare` reads (docs/training.md).
struct TrainingManifest {
  double mpp = 0.7;       ///< µm/px of the crops
  int panel_genes = 256;  ///< size of the gene panel
  std::vector<TrainingSection> sections;
};

/// Paths are relative to `data_root`. Throws Error kUsage naming file, line and key.
TrainingManifest read_training_manifest(const std::filesystem::path& yaml, const std::filesystem::path& data_root);

/// The same of a sample sheet (io/sample_sheet.h), whole slides, at the manifest's default µm/px and panel size. Throws
/// Error kUsage as its reader does, unless it is split by donors, and for a mask, which training sets do not take.
TrainingManifest training_manifest_of_sheet(const std::filesystem::path& csv, const std::filesystem::path& data_root);

/// Genes of the panel: expressed in all sections with spots that are for training, the ones whose
/// log1p CP10k varies most over their spots; sorted by name.
struct SectionCounts {
  std::vector<std::string> genes;
  std::vector<std::vector<float>> rows;  ///< [spots][genes] raw counts
};
std::vector<std::string> choose_panel(const std::vector<SectionCounts>& training_sections, int size);

/// Writes the training set (one safetensors file, docs/training.md): pixels at the manifest's µm/px
/// cropped to the tissue, tissue masks, spots and their counts. `log` is told what was done. Throws Error.
void write_training_set(const TrainingManifest& manifest, const std::filesystem::path& output,
                        const std::function<void(std::string_view)>& log);

}  // namespace vtissue::stages
