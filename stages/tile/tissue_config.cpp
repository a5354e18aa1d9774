#include "stages/tile/tissue_config.h"

#include <algorithm>

#include "core/error.h"

namespace vtissue::stages {
namespace {

const TissuePreset& preset_named(const std::string& name) {
  for (const auto& [known, preset] : tissue_presets()) {
    if (known == name) return preset;
  }
  throw Error(ErrorCode::kUsage, "tissue.preset: \"{}\" is not a choice", name);
}

template <typename T>
void replace(const pipeline::Config& config, const char* key, T& value) {
  if (const auto given = config.get_optional<T>(key)) value = *given;
}

void require_method(const pipeline::Config& config, const std::string& preset, bool allowed,
                    std::initializer_list<const char*> keys, std::string_view whose) {
  if (allowed) return;
  for (const char* key : keys) {
    if (config.has(key)) {
      throw Error(ErrorCode::kUsage, "{} is set, but tissue.preset {} does not use it; it belongs to {}", key, preset,
                  whose);
    }
  }
}

pipeline::ConfigKey number_key(std::string name, std::string description, double minimum, double maximum,
                               pipeline::ValueType type = pipeline::ValueType::kNumber) {
  return {.name = std::move(name),
          .type = type,
          .default_value = nullptr,
          .description = std::move(description),
          .minimum = minimum,
          .maximum = maximum};
}

}  // namespace

std::vector<pipeline::ConfigKey> tissue_config_keys() {
  using pipeline::ValueType;
  std::vector<std::string> presets, artifacts;
  for (const auto& [name, preset] : tissue_presets()) presets.emplace_back(name);
  for (const std::string_view name : artifact_names()) artifacts.emplace_back(name);
  return {
      {.name = "tissue.preset",
       .type = ValueType::kString,
       .default_value = "default",
       .description = "how tissue is found: default (density and texture against this slide's glass), clam and its "
                      "published variants (saturation), hest (Otsu twice, without weights), none (all of the slide); "
                      "the keys below replace single values of it",
       .choices = std::move(presets)},
      number_key("tissue.mpp",
                 "µm/px at which tissue is looked for; not set: 8, with clam 64 level-0 pixels (within 2 to 32)", 2,
                 32),
      number_key("tissue.min_area_um2",
                 "default, hest: smaller pieces of tissue are taken for dust, µm²; not set: 50,000, with hest 3,840", 0,
                 1e9),
      number_key("tissue.min_hole_um2",
                 "default, hest: smaller holes in the tissue are filled, µm²; not set: 50,000, with hest 320,000", 0,
                 1e9),
      number_key("tissue.sthresh", "clam: saturation above it is tissue; not set: 8, in the bwh variants 15", 0, 255,
                 ValueType::kInteger),
      number_key("tissue.mthresh",
                 "clam: side of the saturation's median filter, pixels of the mask, odd; not set: 7, bwh 11", 1, 51,
                 ValueType::kInteger),
      number_key("tissue.close",
                 "clam: side of the closing's square, pixels of the mask; not set: 4, clam_bwh_biopsy 2", 0, 100,
                 ValueType::kInteger),
      {.name = "tissue.use_otsu",
       .type = ValueType::kBool,
       .default_value = nullptr,
       .description = "clam: Otsu's threshold of each slide instead of sthresh; not set: false"},
      number_key(
          "tissue.a_t",
          "clam: smaller pieces are left out, in patches of 512 x 512 level-0 pixels; not set: 100, clam_tcga 16, "
          "clam_bwh_biopsy 1",
          0, 1e6),
      number_key("tissue.a_h",
                 "clam: smaller holes are filled, in the same unit; not set: 16, clam_tcga 4, clam_bwh_biopsy 1", 0,
                 1e6),
      number_key("tissue.max_n_holes", "clam: holes that a piece keeps, the largest; not set: 8, clam_bwh_biopsy 2", 0,
                 1e6, ValueType::kInteger),
      {.name = "tissue.exclude",
       .type = ValueType::kStringList,
       .default_value = nlohmann::json::array({"pen", "border"}),
       .description =
           "what is no tissue wherever it is found: marker ink, black borders and padding, parts out of focus; "
           "what is not listed is reported alone",
       .choices = std::move(artifacts)},
      {.name = "tissue.annotations",
       .type = ValueType::kPath,
       .default_value = nullptr,
       .description = "GeoJSON of QuPath or others, plain or gzip: tissue is only within (--annotations)"},
      {.name = "tissue.include_classes",
       .type = ValueType::kStringList,
       .default_value = nlohmann::json::array(),
       .description = "only annotations of these classes count as within; derived classes (\"Tumor: Positive\" of "
                      "Tumor) too, Unclassified for those without; none: all, or no limit where classes are excluded"},
      {.name = "tissue.exclude_classes",
       .type = ValueType::kStringList,
       .default_value = nlohmann::json::array(),
       .description = "what lies in annotations of these classes is no tissue"},
      {.name = "tissue.annotations_origin",
       .type = ValueType::kString,
       .default_value = "level0",
       .description =
           "where coordinates count from: level0 (the slide's corner), or bounds (its non-empty area, as QuPath "
           "has it for MIRAX, Leica and Ventana)",
       .choices = {"level0", "bounds"}},
      {.name = "tissue.mask",
       .type = ValueType::kPath,
       .default_value = nullptr,
       .description =
           "picture of the whole slide at any scale, tissue in it brighter than black: taken instead of looking "
           "for tissue (--tissue-mask)"},
  };
}

TissueOptions tissue_options(const pipeline::Config& config) {
  TissueOptions options;
  options.preset_name = config.get<std::string>("tissue.preset");
  options.preset = preset_named(options.preset_name);
  options.mpp = config.get_optional<double>("tissue.mpp");
  const TissueMethod method = options.preset.method;
  require_method(config, options.preset_name, method == TissueMethod::kOwn || method == TissueMethod::kHest,
                 {"tissue.min_area_um2", "tissue.min_hole_um2"}, "default and hest (clam: a_t, a_h)");
  require_method(config, options.preset_name, method == TissueMethod::kClam,
                 {"tissue.sthresh", "tissue.mthresh", "tissue.close", "tissue.use_otsu", "tissue.a_t", "tissue.a_h",
                  "tissue.max_n_holes"},
                 "clam");
  replace(config, "tissue.min_area_um2", options.preset.areas.min_area_um2);
  replace(config, "tissue.min_hole_um2", options.preset.areas.min_hole_um2);
  ClamOptions& clam = options.preset.clam;
  replace(config, "tissue.sthresh", clam.sthresh);
  replace(config, "tissue.mthresh", clam.mthresh);
  replace(config, "tissue.close", clam.close);
  replace(config, "tissue.use_otsu", clam.use_otsu);
  replace(config, "tissue.a_t", clam.a_t);
  replace(config, "tissue.a_h", clam.a_h);
  replace(config, "tissue.max_n_holes", clam.max_n_holes);
  if (clam.mthresh % 2 == 0) {
    throw Error(ErrorCode::kUsage, "tissue.mthresh = {}: the side of a median filter is odd", clam.mthresh);
  }
  options.exclude.clear();
  const auto excluded = config.get<std::vector<std::string>>("tissue.exclude");
  for (std::size_t kind = 0; kind < kArtifactCount; ++kind) {
    if (std::ranges::find(excluded, artifact_names()[kind]) != excluded.end())
      options.exclude.push_back(static_cast<Artifact>(kind));
  }
  options.annotations.include = config.get<std::vector<std::string>>("tissue.include_classes");
  options.annotations.exclude = config.get<std::vector<std::string>>("tissue.exclude_classes");
  options.annotations.from_bounds = config.get<std::string>("tissue.annotations_origin") == "bounds";
  return options;
}

}  // namespace vtissue::stages
