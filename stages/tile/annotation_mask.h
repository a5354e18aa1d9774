#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/units.h"
#include "stages/tile/morphology.h"

namespace vtissue::stages {

/// Which annotations count, by the names of their classes. A name stands for its derived classes too: "Tumor" for
/// "Tumor: Positive"; "Unclassified" for those without a class.
struct AnnotationOptions {
  std::vector<std::string> include;  ///< tissue is only within these; empty: within all if `exclude` is empty, too
  std::vector<std::string> exclude;  ///< and in none of these
  bool from_bounds = false;  ///< coordinates begin at the slide's non-empty area (QuPath with MIRAX, Leica, Ventana)
};

/// The slide that the annotations are of.
struct AnnotatedSlide {
  Size<Level0Px> size;
  Point<Level0Px> bounds_origin;  ///< of the non-empty area; (0, 0) where the format has none
  Size<LevelPx> mask_size;
  double downsample = 1;  ///< level-0 pixels per pixel of the mask
};

/// Annotations as masks.
struct AnnotationMasks {
  bool limits = false;   ///< tissue is only within `included`
  BinaryImage included;  ///< [h, w], 1 inside
  BinaryImage excluded;
  nlohmann::json figures;             ///< objects, classes
  std::vector<std::string> warnings;  ///< of what was left out or repaired
};

/// Reads a GeoJSON file (io/geojson.h) and fills the areas of its annotations by class. QuPath's detections, cells and
/// tiles are no annotations and are left out; where all count, so are classes that QuPath ignores (ending in "*").
/// Throws Error: kBadInput if the file cannot be used, has no area, or none inside the slide; kUsage for a class that
/// the file lacks, with the nearest it has.
AnnotationMasks read_annotation_masks(const std::filesystem::path& path, const AnnotatedSlide& slide,
                                      const AnnotationOptions& options);

}  // namespace vtissue::stages
