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
#include "stages/tile/given_tiles.h"
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
  double target_mpp = 0;
  TileGrid grid;
  std::optional<GivenTiles> given;
  bool has_profile = false;  ///< and pixels were converted by it
};

using Coordinates = std::optional<std::filesystem::path>;

Coordinates coordinates_of(const pipeline::Bindings& inputs) {
  const auto bound = inputs.find("coordinates");
  return bound == inputs.end() ? std::nullopt : Coordinates(bound->second);
}

GivenTiles read_given(const std::filesystem::path& path, const OpenSlide& slide, const TileOptions& options) {
  GivenTiles given = place_given_tiles(io::read_patch_coordinates(path), slide.size, slide.level0_mpp, options.size_px,
                                       options.mpp, path);
  if (options.for_synthesis && given.lattice) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: its patches do not lie side by side from the slide's corner on, as synthesis needs them; run tile, "
        "embed and express on them one by one, or leave tile.coordinates out",
        path.string());
  }
  return given;
}

OpenSlide open_slide(const std::filesystem::path& path, const TileOptions& options, const Coordinates& coordinates) {
  OpenSlide slide;
  slide.reader = io::SlideReader::open(path, {.mpp = options.slide_mpp, .to_srgb = options.to_srgb});
  const io::SlideInfo& info = slide.reader->info();
  if (!info.mpp) {
    throw Error(ErrorCode::kBadInput,
                "{}: no trustworthy µm/px in the slide ({}); pass it with --mpp (0.25 is usual at 40x, 0.5 at 20x)",
                path.string(), info.format);
  }
  slide.mpp = *info.mpp;
  slide.has_profile = info.converted_to_srgb;
  slide.level0_mpp = (slide.mpp.x + slide.mpp.y) / 2;
  const Size<LevelPx> level0 = info.levels.front().size;
  slide.size = {level0.width, level0.height};
  slide.target_mpp = options.mpp;
  if (coordinates && info.pixel_aspect != 1) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: the slide's pixels are not square ({} times as long as wide), so a patch of {} is no square of tissue; "
        "leave tile.coordinates out",
        path.string(), info.pixel_aspect, coordinates->string());
  }
  if (coordinates) {
    slide.given = read_given(*coordinates, slide, options);
    slide.target_mpp = slide.given->target_mpp;
  }
  TileGrid& grid = slide.grid;
  const io::TileReader tiles(slide.reader, slide.target_mpp);
  grid.target_size = tiles.size();
  grid.scale = tiles.scale();
  grid.tile_px = options.size_px;
  grid.min_tissue = options.min_tissue;
  grid.region = options.region;
  if (grid.region && info.pixel_aspect != 1) {
    const auto row = [&](std::int64_t y) { return std::llround(static_cast<double>(y) * info.pixel_aspect); };
    const std::int64_t bottom = row(grid.region->origin.y + grid.region->size.height);
    grid.region->origin.y = row(grid.region->origin.y);
    grid.region->size.height = bottom - grid.region->origin.y;
  }
  grid.overlap_px = options.overlap_px;
  grid.half_shift = options.half_shift;
  grid.min_inside = options.min_inside;
  if (grid.target_size.width < options.size_px || grid.target_size.height < options.size_px) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: the slide is {} x {} pixels at {} µm/px, smaller than one tile of {} px; take a smaller tile.mpp or "
        "check the slide's µm/px ({} from {})",
        path.string(), grid.target_size.width, grid.target_size.height, slide.target_mpp, options.size_px,
        slide.level0_mpp, slide.mpp.source);
  }
  if (options.region) {
    const Box<Level0Px>& box = *grid.region;
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

/// Outlines count the file's pixels. Throws Error kBadInput.
void require_square_for(const OpenSlide& slide, const TissueFiles& files) {
  const double aspect = slide.reader->info().pixel_aspect;
  if (aspect == 1 || files.annotations.empty()) return;
  throw Error(
      ErrorCode::kBadInput,
      "{}: the slide's pixels are not square ({} times as long as wide), and annotations are not scaled; give a "
      "mask picture instead (tissue.mask)",
      files.annotations.string(), aspect);
}

/// The tiles of a file, with their share of tissue; all whose centre lies in the region.
GridTiles chosen_of(const GivenTiles& given, const OpenSlide& slide, const TissueMask& mask, double mask_mpp) {
  io::TileSet places;  // what their places and shares depend on
  places.tile_px = slide.grid.tile_px;
  places.lattice = given.lattice;
  places.target_mpp = given.target_mpp;
  places.mask_mpp = mask_mpp;
  places.cells = given.cells;
  const std::vector<float> shares = tile_shares(places, {mask.size, mask.mask});
  GridTiles tiles;
  for (std::size_t i = 0; i < given.cells.size(); ++i) {
    const Point<TargetPx> origin = places.origin(given.cells[i]);
    const auto centre = [&](std::int64_t at) {
      return std::llround((static_cast<double>(at) + slide.grid.tile_px / 2.0) * slide.grid.scale);
    };
    if (slide.grid.region && !slide.grid.region->contains({centre(origin.x), centre(origin.y)})) continue;
    tiles.best_fraction = std::max(tiles.best_fraction, double{shares[i]});
    tiles.cells.push_back(given.cells[i]);
    tiles.tissue_fraction.push_back(shares[i]);
  }
  return tiles;
}

/// Pixels that are not read as the file has them.
void report_pixels(const OpenSlide& slide, const TileOptions& options, pipeline::RunContext& ctx) {
  if (const double aspect = slide.reader->info().pixel_aspect; aspect != 1) {
    ctx.report("pixel_aspect", aspect);
    ctx.warn(fmt::format(
        "the slide's pixels are not square: {:.4g} x {:.4g} µm ({}); rows are resampled to {:.4g} µm, here and in the "
        "stages that follow",
        slide.mpp.x, slide.mpp.x * aspect, slide.mpp.source, slide.mpp.x));
  }
  if (options.to_srgb && !slide.has_profile) {
    ctx.warn("tile.icc = srgb, but the slide has no colour profile that is read here; its pixels stay as they are");
  }
}

/// What the tiles of a file have that a grid of our own has not.
void report_given(const OpenSlide& slide, const GridTiles& chosen, double wanted_mpp, pipeline::RunContext& ctx) {
  constexpr double kNoticed = 0.01;  // of the µm/px, and of a tile's side
  const GivenTiles& given = *slide.given;
  ctx.report("tile_mpp", given.target_mpp);
  ctx.report("largest_shift_px", std::round(given.largest_shift_px * 1000) / 1000);
  if (std::abs(given.target_mpp / wanted_mpp - 1) > kNoticed) {
    ctx.warn(
        fmt::format("the patches given are {:.4g} µm/px for tiles of {} px, not tile.mpp = {}; the models see tissue "
                    "at that scale",
                    given.target_mpp, slide.grid.tile_px, wanted_mpp));
  }
  const auto without = std::ranges::count(chosen.tissue_fraction, 0.0f);
  if (without > 0) {
    ctx.warn(
        fmt::format("{} of the {} tiles given have no tissue in the mask found here", without, chosen.cells.size()));
  }
}

}  // namespace

TileStage::TileStage(TileOptions options) : options_(std::move(options)) {
  if (options_.size_px <= 0 || options_.size_px % 2 != 0) {
    throw Error(ErrorCode::kUsage, "tile.size_px = {}: expected an even, positive number", options_.size_px);
  }
  if (options_.overlap_px < 0 || options_.overlap_px % 2 != 0 || options_.overlap_px >= options_.size_px) {
    throw Error(ErrorCode::kUsage, "tile.overlap_px = {}: expected an even number from 0 to below tile.size_px = {}",
                options_.overlap_px, options_.size_px);
  }
}

std::vector<pipeline::Port> TileStage::inputs() const {
  return {{.name = "slide"},
          {.name = "annotations", .optional = true},
          {.name = "tissue_mask", .optional = true},
          {.name = "coordinates", .optional = true}};
}

std::vector<pipeline::Port> TileStage::outputs() const { return {{.name = "tiles"}}; }

nlohmann::json TileStage::identity() const {
  nlohmann::json identity = {
      {"size_px", options_.size_px}, {"mpp", options_.mpp}, {"min_tissue", options_.min_tissue},
      {"slide_mpp", nullptr},        {"region", nullptr},   {"tissue", to_json(options_.tissue)}};
  // What a grid without them does not state, so that its bytes stay what they were.
  if (options_.overlap_px != 0) identity["overlap_px"] = options_.overlap_px;
  if (options_.to_srgb) identity["icc"] = "srgb";
  if (options_.half_shift) identity["shift"] = "half";
  if (options_.min_inside != 0) identity["min_inside"] = options_.min_inside;
  if (options_.slide_mpp) identity["slide_mpp"] = *options_.slide_mpp;
  if (const auto& region = options_.region) {
    identity["region"] = {region->origin.x, region->origin.y, region->size.width, region->size.height};
  }
  return identity;
}

void TileStage::preflight(const pipeline::Bindings& available_inputs) const {
  if (const auto slide = available_inputs.find("slide"); slide != available_inputs.end()) {
    const OpenSlide open = open_slide(slide->second, options_, coordinates_of(available_inputs));
    require_square_for(open, tissue_files(available_inputs, options_.tissue));
  }
}

pipeline::Estimate TileStage::estimate(const pipeline::Bindings& available_inputs) const {
  const auto path = available_inputs.find("slide");
  if (path == available_inputs.end()) return {};
  const OpenSlide slide = open_slide(path->second, options_, coordinates_of(available_inputs));
  if (slide.given) {
    return {.chunks = 1,
            .note = fmt::format("{} tiles of {} px as given", slide.given->cells.size(), options_.size_px)};
  }
  const Size<HalfTile> count = slide.grid.count();
  return {.chunks = 1,
          .note = fmt::format("grid of {} x {} tiles of {} px at {} µm/px; those with tissue are kept", count.width,
                              count.height, options_.size_px, options_.mpp)};
}

void TileStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                    pipeline::RunContext& ctx) const {
  const std::filesystem::path& path = inputs.at("slide");
  const OpenSlide slide = open_slide(path, options_, coordinates_of(inputs));
  ctx.set_total(1, "slide");

  const TissueFiles files = tissue_files(inputs, options_.tissue);
  require_square_for(slide, files);
  SlideTissue found = find_slide_tissue(*slide.reader, slide.level0_mpp, options_.tissue, files);
  TissueMask& mask = found.tissue;
  if (found.tissue_mm2 == 0 && !slide.given) throw_no_tissue(path, slide, found, options_.tissue);
  ctx.throw_if_stopped();

  GridTiles chosen = slide.given ? chosen_of(*slide.given, slide, mask, found.mpp)
                                 : choose_tiles(slide.grid, mask.mask, mask.size, found.downsample);
  if (chosen.cells.empty()) {
    throw Error(ErrorCode::kBadInput,
                "{}: {:.3f} mm² of tissue, but no tile {}has a share of {} or more (the best has {:.3f}); {}lower "
                "tile.min_tissue",
                path.string(), found.tissue_mm2, options_.region ? "in the region " : "", options_.min_tissue,
                chosen.best_fraction, options_.region ? "choose another region or " : "");
  }
  report_pixels(slide, options_, ctx);
  for (const std::string& warning : found.warnings) ctx.warn(warning);
  ctx.throw_if_stopped();

  io::TileSet tiles;
  tiles.tile_px = options_.size_px;
  tiles.target_mpp = slide.target_mpp;
  tiles.source_mpp = slide.level0_mpp;
  tiles.mpp_source = slide.mpp.source;
  tiles.pixel_aspect = slide.reader->info().pixel_aspect;
  tiles.to_srgb = options_.to_srgb;
  tiles.slide_size = slide.size;
  tiles.target_size = slide.grid.target_size;
  tiles.slide_sha256 = ctx.input_sha256("slide", path);
  tiles.settings = identity().dump();
  if (slide.given) {
    nlohmann::json settings = identity();
    settings["coordinates_sha256"] = ctx.input_sha256("coordinates", *coordinates_of(inputs));
    tiles.settings = settings.dump();
    tiles.lattice = slide.given->lattice;
    report_given(slide, chosen, options_.mpp, ctx);
  } else if (options_.overlap_px != 0) {
    tiles.lattice = io::TileLattice{.stride_px = slide.grid.stride_px(), .cell_px = slide.grid.stride_px() / 2};
  }
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
