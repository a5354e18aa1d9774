#include "stages/tile/slide_tissue.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "stages/tile/mask_picture.h"

namespace vtissue::stages {
namespace {

constexpr double kLongestThumbnail = 2560;
constexpr double kUm2PerMm2 = 1e6;
constexpr double kWorthSaying = 0.005;  // of the tissue (pen, blur) or the picture (border)
constexpr double kLittleTissue = 0.05;  // of the included annotations

std::int64_t count_set(const std::vector<std::uint8_t>& mask) { return std::count(mask.begin(), mask.end(), 1); }

std::int64_t count_both(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  std::int64_t both = 0;
  for (std::size_t i = 0; i < a.size(); ++i) both += a[i] & b[i];
  return both;
}

double rounded(double value, double per_unit) { return std::round(value * per_unit) / per_unit; }

class TissueSearch {
 public:
  TissueSearch(const io::SlideReader& slide, double level0_mpp, const TissueOptions& options, const TissueFiles& files)
      : slide_(slide), options_(options), files_(files) {
    const Size<LevelPx> level0 = slide.info().levels.front().size;
    slide_size_ = {level0.width, level0.height};
    const double wanted_mpp = options.mpp ? *options.mpp : preset_mpp(options.preset, level0_mpp);
    const auto longest = static_cast<double>(std::max(level0.width, level0.height));
    const double wanted = std::round(longest * std::min(1.0, level0_mpp / wanted_mpp));
    picture_ = slide.thumbnail(static_cast<int>(std::clamp(wanted, 1.0, kLongestThumbnail)));
    result_.downsample = picture_.downsample;
    result_.mpp = picture_.downsample * level0_mpp;
    pixel_mm2_ = result_.mpp * result_.mpp / kUm2PerMm2;
  }

  SlideTissue run() {
    const RgbView view{picture_.rgb, picture_.size};
    const Glass glass = find_glass(view, result_.mpp);
    if (files_.mask.empty()) {
      result_.tissue = find_tissue_as(options_.preset, view, glass, result_.mpp, result_.downsample);
      if (!glass.found && options_.preset.method == TissueMethod::kOwn) {
        result_.warnings.emplace_back(
            "no empty glass in the slide to compare with; tissue was told from a usual white. Look at the mask");
      }
    } else {
      result_.tissue = mask_beside(glass);
      result_.tissue.mask = read_mask_picture(files_.mask, slide_size_, picture_.size, result_.downsample).pixels;
    }
    result_.figures = nlohmann::json::object();
    if (!files_.annotations.empty()) apply_annotations();
    result_.found_mm2 = static_cast<double>(count_set(result_.tissue.mask)) * pixel_mm2_;
    result_.artifacts = find_artifacts(view, glass, result_.mpp, {picture_.size, result_.tissue.mask});
    apply_artifacts();
    result_.tissue_mm2 = static_cast<double>(count_set(result_.tissue.mask)) * pixel_mm2_;
    return std::move(result_);
  }

 private:
  void apply_annotations() {
    AnnotatedSlide slide{
        .size = slide_size_, .bounds_origin = {}, .mask_size = picture_.size, .downsample = result_.downsample};
    if (const auto& bounds = slide_.info().bounds) slide.bounds_origin = bounds->origin;
    AnnotationMasks masks = read_annotation_masks(files_.annotations, slide, options_.annotations);
    std::vector<std::uint8_t>& tissue = result_.tissue.mask;
    const std::int64_t found = count_set(tissue);
    if (masks.limits) {
      const std::int64_t included = count_set(masks.included.pixels);
      const std::int64_t both = count_both(tissue, masks.included.pixels);
      if (both == 0 && found > 0) {
        throw Error(
            ErrorCode::kBadInput,
            "{}: the included annotations cover {:.3f} mm² but none of the {:.3f} mm² of tissue found: are they in "
            "level-0 pixels of this slide? To take them as they are set tissue.preset none",
            files_.annotations.string(), static_cast<double>(included) * pixel_mm2_,
            static_cast<double>(found) * pixel_mm2_);
      }
      if (found > 0 && static_cast<double>(both) < kLittleTissue * static_cast<double>(included)) {
        masks.warnings.push_back(fmt::format(
            "annotations: only {:.1f} % of the included area is tissue; are they in level-0 pixels of this slide?",
            100.0 * static_cast<double>(both) / static_cast<double>(included)));
      }
      for (std::size_t i = 0; i < tissue.size(); ++i) tissue[i] &= masks.included.pixels[i];
      masks.figures["included_mm2"] = rounded(static_cast<double>(included) * pixel_mm2_, 1e3);
    }
    for (std::size_t i = 0; i < tissue.size(); ++i)
      tissue[i] &= static_cast<std::uint8_t>(1 - masks.excluded.pixels[i]);
    masks.figures["excluded_mm2"] = rounded(static_cast<double>(count_set(masks.excluded.pixels)) * pixel_mm2_, 1e3);
    result_.figures["annotations"] = std::move(masks.figures);
    std::ranges::move(masks.warnings, std::back_inserter(result_.warnings));
  }

  /// The shares are of the tissue before any artifact is taken out; of the border, of the picture.
  void apply_artifacts() {
    std::vector<std::uint8_t>& tissue = result_.tissue.mask;
    const auto found = static_cast<double>(std::max<std::int64_t>(1, count_set(tissue)));
    const auto whole = static_cast<double>(tissue.size());
    nlohmann::json shares = nlohmann::json::object();
    const std::vector<std::uint8_t> before = tissue;
    for (std::size_t kind = 0; kind < kArtifactCount; ++kind) {
      const auto artifact = static_cast<Artifact>(kind);
      const std::vector<std::uint8_t>& mask = result_.artifacts[artifact].pixels;
      const auto of_tissue = static_cast<double>(count_both(before, mask)) / found;
      const auto of_slide = static_cast<double>(count_set(mask)) / whole;
      const bool excluded = std::ranges::find(options_.exclude, artifact) != options_.exclude.end();
      shares[std::string(artifact_names()[kind])] = {
          {"of_tissue", rounded(of_tissue, 1e4)}, {"of_slide", rounded(of_slide, 1e4)}, {"excluded", excluded}};
      const double worth =
          artifact == Artifact::kBorder ? 0 : std::max(of_tissue, artifact == Artifact::kPen ? of_slide : 0);
      if (worth >= kWorthSaying || (artifact == Artifact::kBorder && !excluded && of_tissue >= kWorthSaying)) {
        result_.warnings.push_back(describe(artifact, of_tissue, of_slide, excluded));
      }
      if (!excluded) continue;
      for (std::size_t i = 0; i < tissue.size(); ++i) tissue[i] &= static_cast<std::uint8_t>(1 - mask[i]);
    }
    result_.figures["artifacts"] = std::move(shares);
  }

  std::string describe(Artifact artifact, double of_tissue, double of_slide, bool excluded) const {
    const auto kind = static_cast<std::size_t>(artifact);
    std::string what;
    if (artifact == Artifact::kPen) {
      std::string inks;
      for (std::size_t ink = 0; ink < kInkCount; ++ink) {
        if (result_.artifacts.ink[ink] > 0) inks += fmt::format("{}{}", inks.empty() ? "" : ", ", ink_names()[ink]);
      }
      what = fmt::format("pen marks ({}) on {:.1f} % of the slide and {:.1f} % of the tissue", inks, 100 * of_slide,
                         100 * of_tissue);
    } else if (artifact == Artifact::kBlur) {
      what = fmt::format("{:.1f} % of the tissue is out of focus", 100 * of_tissue);
    } else {
      what = fmt::format("black borders or padding count as {:.1f} % of the tissue", 100 * of_tissue);
    }
    return what + (excluded ? "; left out"
                            : fmt::format("; kept (tissue.exclude with {} leaves it out)", artifact_names()[kind]));
  }

  const io::SlideReader& slide_;
  const TissueOptions& options_;
  const TissueFiles& files_;
  Size<Level0Px> slide_size_;
  io::SlideReader::Picture picture_;
  double pixel_mm2_ = 0;
  SlideTissue result_;
};

}  // namespace

nlohmann::json to_json(const TissueOptions& options) {
  const TissuePreset& preset = options.preset;
  nlohmann::json json = {{"preset", options.preset_name}, {"mpp", nullptr}};
  if (options.mpp) json["mpp"] = *options.mpp;
  if (preset.method == TissueMethod::kOwn || preset.method == TissueMethod::kHest) {
    json["min_area_um2"] = preset.areas.min_area_um2;
    json["min_hole_um2"] = preset.areas.min_hole_um2;
  }
  if (preset.method == TissueMethod::kClam) {
    const ClamOptions& clam = preset.clam;
    json["clam"] = {{"sthresh", clam.sthresh},        {"mthresh", clam.mthresh}, {"close", clam.close},
                    {"use_otsu", clam.use_otsu},      {"a_t", clam.a_t},         {"a_h", clam.a_h},
                    {"max_n_holes", clam.max_n_holes}};
  }
  json["exclude"] = nlohmann::json::array();
  for (std::size_t kind = 0; kind < kArtifactCount; ++kind) {
    if (std::ranges::find(options.exclude, static_cast<Artifact>(kind)) != options.exclude.end())
      json["exclude"].push_back(artifact_names()[kind]);
  }
  json["include_classes"] = options.annotations.include;
  json["exclude_classes"] = options.annotations.exclude;
  json["annotations_origin"] = options.annotations.from_bounds ? "bounds" : "level0";
  return json;
}

SlideTissue find_slide_tissue(const io::SlideReader& slide, double level0_mpp, const TissueOptions& options,
                              const TissueFiles& files) {
  return TissueSearch(slide, level0_mpp, options, files).run();
}

}  // namespace vtissue::stages
