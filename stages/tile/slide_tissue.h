#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/slide_reader.h"
#include "stages/tile/annotation_mask.h"
#include "stages/tile/artifacts.h"
#include "stages/tile/tissue_mask.h"
#include "stages/tile/tissue_presets.h"

namespace vtissue::stages {

/// Section "tissue" of the configuration.
struct TissueOptions {
  std::string preset_name = "default";
  TissuePreset preset;                                                  ///< of that name, single values replaced
  std::optional<double> mpp;                                            ///< µm/px of the mask; not set: the preset's
  std::vector<Artifact> exclude = {Artifact::kPen, Artifact::kBorder};  ///< the others are reported alone
  AnnotationOptions annotations;
};

/// What decides the tissue besides the slide, for Stage::identity().
nlohmann::json to_json(const TissueOptions& options);

/// Files of the user's that decide on the tissue; empty: none.
struct TissueFiles {
  std::filesystem::path annotations;  ///< GeoJSON
  std::filesystem::path mask;         ///< a picture
};

struct SlideTissue {
  TissueMask tissue;  ///< after annotations and artifacts
  Artifacts artifacts;
  double downsample = 1;  ///< level-0 pixels per pixel of the masks
  double mpp = 0;         ///< µm per pixel of the masks
  double found_mm2 = 0;   ///< before artifacts were taken out
  double tissue_mm2 = 0;
  nlohmann::json figures;  ///< for run.json and the report
  std::vector<std::string> warnings;
};

/// Finds the tissue of a slide: by the preset, or from a mask picture; within the annotations; without the artifacts
/// that are excluded. `level0_mpp`: µm per level-0 pixel. Memory is bounded by the thumbnail, no side of which
/// exceeds 2560 pixels. Throws Error of what the files say.
SlideTissue find_slide_tissue(const io::SlideReader& slide, double level0_mpp, const TissueOptions& options,
                              const TissueFiles& files);

}  // namespace vtissue::stages
