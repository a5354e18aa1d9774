#include "stages/tile/tile_stage.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "core/error.h"
#include "io/slide_reader.h"
#include "io/tile_reader.h"
#include "io/tile_store.h"
#include "pipeline/run_context.h"
#include "stages/tile/slide_tissue.h"
#include "stages/tile/tile_grid.h"
#include "stages/tile/tile_shares.h"

namespace vtissue::stages {
namespace {

struct OpenSlide {
  std::shared_ptr<const io::SlideReader> reader;
  io::Mpp mpp;
  double level0_mpp = 0;  ///< one number for both axes, as TileReader uses it
  Size<Level0Px> size;
  TileGrid grid;
};

OpenSlide open_slide(const std::filesystem::path& path, const TileOptions& options) {
  OpenSlide slide;
  slide.reader = io::SlideReader::open(path, {.mpp = options.slide_mpp});
  const io::SlideInfo& info = slide.reader->info();
  if (!info.mpp) {
    throw Error(ErrorCode::kBadInput,
                "{}: no trustworthy µm/px in the slide ({}); pass it with --mpp (0.25 is usual at 40x, 0.5 at 20x)",
                path.string(), info.format);
  }
  slide.mpp = *info.mpp;
  slide.level0_mpp = (slide.mpp.x + slide.mpp.y) / 2;
  const Size<LevelPx> level0 = info.levels.front().size;
  slide.size = {level0.width, level0.height};
  TileGrid& grid = slide.grid;
  const io::TileReader tiles(slide.reader, options.mpp);
  grid.target_size = tiles.size();
  grid.scale = tiles.scale();
  grid.tile_px = options.size_px;
  grid.min_tissue = options.min_tissue;
  grid.region = options.region;
  if (grid.target_size.width < options.size_px || grid.target_size.height < options.size_px) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: the slide is {} x {} pixels at {} µm/px, smaller than one tile of {} px; take a smaller tile.mpp or "
        "check the slide's µm/px ({} from {})",
        path.string(), grid.target_size.width, grid.target_size.height, options.mpp, options.size_px, slide.level0_mpp,
        slide.mpp.source);
  }
  if (options.region) {
    const Box<Level0Px>& box = *options.region;
    if (box.size.empty() || box.origin.x >= level0.width || box.origin.y >= level0.height ||
        box.origin.x + box.size.width <= 0 || box.origin.y + box.size.height <= 0) {
      throw Error(ErrorCode::kUsage, "region {},{},{},{} (x,y,w,h in level-0 pixels) lies outside {}, which is {} x {}",
                  box.origin.x, box.origin.y, box.size.width, box.size.height, path.string(), level0.width,
                  level0.height);
    }
  }
  return slide;
}

[[noreturn]] void throw_no_tissue(const std::filesystem::path& path, const OpenSlide& slide, const SlideTissue& found,
                                  const TissueOptions& options) {
  if (found.found_mm2 > 0) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: all of the {:.3f} mm² of tissue found lie under what tissue.exclude leaves out ({}); take a kind off "
        "that list",
        path.string(), found.found_mm2, to_json(options).at("exclude").dump());
  }
  const auto& glass = found.tissue.background_rgb;
  throw Error(
      ErrorCode::kBadInput,
      "{}: no tissue found in {:.1f} x {:.1f} mm at {} µm/px ({}) by tissue.preset {}: nothing stands out from the "
      "background of colour ({:.0f}, {:.0f}, {:.0f}), {:.0f} % is black border. Check that it is an H&E slide and that "
      "its "
      "µm/px is right (--mpp); for very small pieces lower {}",
      path.string(), static_cast<double>(slide.size.width) * slide.level0_mpp / 1000,
      static_cast<double>(slide.size.height) * slide.level0_mpp / 1000, slide.level0_mpp, slide.mpp.source,
      options.preset_name, glass[0], glass[1], glass[2], found.tissue.black_fraction * 100,
      options.preset.method == TissueMethod::kClam ? "tissue.a_t" : "tissue.min_area_um2");
}

/// The user's files of the bound optional ports.
/// Throws Error kUsage if classes are named and there are no annotations.
TissueFiles tissue_files(const pipeline::Bindings& inputs, const TissueOptions& options) {
  TissueFiles files;
  if (const auto path = inputs.find("annotations"); path != inputs.end()) files.annotations = path->second;
  if (const auto path = inputs.find("tissue_mask"); path != inputs.end()) files.mask = path->second;
  if (files.annotations.empty() && !(options.annotations.include.empty() && options.annotations.exclude.empty())) {
    throw Error(ErrorCode::kUsage,
                "tissue.include_classes or tissue.exclude_classes is set, but there are no annotations: give them with "
                "tissue.annotations (--annotations)");
  }
  for (const std::filesystem::path& path : {files.annotations, files.mask}) {
    if (!path.empty() && !std::filesystem::exists(path)) {
      throw Error(ErrorCode::kBadInput, "{}: no such file", path.string());
    }
  }
  return files;
}

}  // namespace

TileStage::TileStage(TileOptions options) : options_(std::move(options)) {
  if (options_.size_px <= 0 || options_.size_px % 2 != 0) {
    throw Error(ErrorCode::kUsage, "tile.size_px = {}: expected an even, positive number", options_.size_px);
  }
}

std::vector<pipeline::Port> TileStage::inputs() const {
  return {{.name = "slide"}, {.name = "annotations", .optional = true}, {.name = "tissue_mask", .optional = true}};
}

std::vector<pipeline::Port> TileStage::outputs() const { return {{.name = "tiles"}}; }

nlohmann::json TileStage::identity() const {
  nlohmann::json identity = {
      {"size_px", options_.size_px}, {"mpp", options_.mpp}, {"min_tissue", options_.min_tissue},
      {"slide_mpp", nullptr},        {"region", nullptr},   {"tissue", to_json(options_.tissue)}};
  if (options_.slide_mpp) identity["slide_mpp"] = *options_.slide_mpp;
  if (const auto& region = options_.region) {
    identity["region"] = {region->origin.x, region->origin.y, region->size.width, region->size.height};
  }
  return identity;
}

void TileStage::preflight(const pipeline::Bindings& available_inputs) const {
  if (const auto slide = available_inputs.find("slide"); slide != available_inputs.end()) {
    open_slide(slide->second, options_);
    tissue_files(available_inputs, options_.tissue);
  }
}

pipeline::Estimate TileStage::estimate(const pipeline::Bindings& available_inputs) const {
  const auto path = available_inputs.find("slide");
  if (path == available_inputs.end()) return {};
  const OpenSlide slide = open_slide(path->second, options_);
  const Size<HalfTile> count = slide.grid.count();
  return {.chunks = 1,
          .note = fmt::format("grid of {} x {} tiles of {} px at {} µm/px; those with tissue are kept", count.width,
                              count.height, options_.size_px, options_.mpp)};
}

void TileStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                    pipeline::RunContext& ctx) const {
  const std::filesystem::path& path = inputs.at("slide");
  const OpenSlide slide = open_slide(path, options_);
  ctx.set_total(1, "slide");

  SlideTissue found =
      find_slide_tissue(*slide.reader, slide.level0_mpp, options_.tissue, tissue_files(inputs, options_.tissue));
  TissueMask& mask = found.tissue;
  if (found.tissue_mm2 == 0) throw_no_tissue(path, slide, found, options_.tissue);
  ctx.throw_if_stopped();

  GridTiles chosen = choose_tiles(slide.grid, mask.mask, mask.size, found.downsample);
  if (chosen.cells.empty()) {
    throw Error(ErrorCode::kBadInput,
                "{}: {:.3f} mm² of tissue, but no tile {}has a share of {} or more (the best has {:.3f}); {}lower "
                "tile.min_tissue",
                path.string(), found.tissue_mm2, options_.region ? "in the region " : "", options_.min_tissue,
                chosen.best_fraction, options_.region ? "choose another region or " : "");
  }
  for (const std::string& warning : found.warnings) ctx.warn(warning);
  ctx.throw_if_stopped();

  io::TileSet tiles;
  tiles.tile_px = options_.size_px;
  tiles.target_mpp = options_.mpp;
  tiles.source_mpp = slide.level0_mpp;
  tiles.mpp_source = slide.mpp.source;
  tiles.slide_size = slide.size;
  tiles.target_size = slide.grid.target_size;
  tiles.slide_sha256 = ctx.input_sha256("slide", path);
  tiles.settings = identity().dump();
  tiles.cells = std::move(chosen.cells);
  tiles.tissue_fraction = std::move(chosen.tissue_fraction);
  tiles.mask = std::move(mask.mask);
  tiles.mask_size = mask.size;
  tiles.mask_mpp = found.mpp;
  for (std::size_t kind = 0; kind < kArtifactCount; ++kind) {
    tiles.artifacts.emplace(artifact_names()[kind], tile_shares(tiles, found.artifacts.masks[kind]));
  }
  io::write_tiles(outputs.at("tiles"), tiles);

  ctx.report("tiles", tiles.cells.size());
  ctx.report("tissue_mm2", std::round(found.tissue_mm2 * 1000) / 1000);
  ctx.report("slide_mpp", slide.level0_mpp);
  ctx.report("slide_mpp_source", slide.mpp.source);
  ctx.report("background_rgb", mask.background_rgb);
  for (const auto& [key, value] : found.figures.items()) ctx.report(key, value);
  ctx.advance();
}

}  // namespace vtissue::stages
