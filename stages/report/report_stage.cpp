#include "stages/report/report_stage.h"

#include <fstream>
#include <memory>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/jpeg_tile.h"
#include "io/png.h"
#include "io/slide_reader.h"
#include "io/tile_reader.h"
#include "io/tile_store.h"
#include "pipeline/run_context.h"
#include "stages/embed/slide_of_tiles.h"
#include "stages/report/html.h"
#include "stages/report/report_pictures.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {
namespace {

namespace fs = std::filesystem;

constexpr int kOverviewQuality = 85;
constexpr int kTileQuality = 92;

std::vector<std::byte> jpeg(const io::RgbImage& picture, int quality) {
  return io::encode_jpeg_file(picture.rgb, static_cast<int>(picture.size.width), static_cast<int>(picture.size.height),
                              quality);
}

nlohmann::json read_metrics(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::kBadInput, "{}: cannot be opened; run evaluate, or leave it out", path.string());
  try {
    nlohmann::json metrics = nlohmann::json::parse(file);
    if (!metrics.is_object()) throw Error(ErrorCode::kBadInput, "{}: not a JSON object", path.string());
    return metrics;
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::kBadInput, "{}: not valid JSON: {}", path.string(), e.what());
  }
}

/// The virtual slide must be the one that was made from these tiles.
void check_virtual(const fs::path& path, const io::SlideReader& virtual_slide, const io::TileSet& tiles) {
  const Size<LevelPx> size = virtual_slide.info().levels.front().size;
  if (size.width < tiles.target_size.width || size.height < tiles.target_size.height) {
    throw Error(ErrorCode::kBadInput, "{}: {} x {} px, but the tiles cover {} x {} px; run stitch on these tiles",
                path.string(), size.width, size.height, tiles.target_size.width, tiles.target_size.height);
  }
}

/// Tiles side by side. One that the slide cannot decode (on_bad_tile: skip) is no pair; `unreadable` counts them.
std::vector<TilePair> read_pairs(const io::TileReader& real, const io::TileReader& synthetic, const io::TileSet& tiles,
                                 int count, pipeline::RunContext& ctx, std::size_t* unreadable) {
  std::vector<TilePair> pairs;
  choose_tiles(tiles, count, [&](std::size_t index) {
    ctx.throw_if_stopped();
    const TileCell cell = tiles.cells[index];
    const Box<TargetPx> box{tiles.origin(cell), {tiles.tile_px, tiles.tile_px}};
    std::vector<std::uint8_t> rgb;
    try {
      rgb = real.read(box);
    } catch (const Error& e) {
      if (e.code() != ErrorCode::kBadInput) throw;
      ++*unreadable;
      return false;
    }
    pairs.push_back({fmt::format("tile ({}, {}), {:.0f} % tissue", cell.column, cell.row,
                                 100.0 * static_cast<double>(tiles.tissue_fraction[index])),
                     jpeg({box.size, std::move(rgb)}, kTileQuality),
                     jpeg({box.size, synthetic.read(box)}, kTileQuality)});
    return true;
  });
  return pairs;
}

std::vector<std::string> texts(const nlohmann::json& list) {
  std::vector<std::string> out;
  for (const nlohmann::json& item : list) out.push_back(item.is_string() ? item.get<std::string>() : item.dump());
  return out;
}

}  // namespace

ReportStage::ReportStage(ReportOptions options) : options_(std::move(options)) {}

std::vector<pipeline::Port> ReportStage::inputs() const {
  return {{.name = "slide"}, {.name = "tiles"}, {.name = "virtual"}, {.name = "metrics", .optional = true}};
}

std::vector<pipeline::Port> ReportStage::outputs() const { return {{.name = "report"}, {.name = "preview"}}; }

nlohmann::json ReportStage::identity() const {
  return {{"overview_px", options_.overview_px},
          {"tile_pairs", options_.tile_pairs},
          {"generator", options_.generator},
          {"run", options_.run}};
}

void ReportStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                      pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const std::shared_ptr<io::SlideReader> slide = open_slide_of(inputs.at("slide"), tiles);
  require_slide_of(inputs.at("slide"), ctx.input_sha256("slide", inputs.at("slide")), tiles);
  const std::shared_ptr<io::SlideReader> synthetic =
      io::SlideReader::open(inputs.at("virtual"), {.mpp = tiles.target_mpp});
  check_virtual(inputs.at("virtual"), *synthetic, tiles);
  ctx.set_total(3, "parts");

  const double ratio = overview_ratio(tiles, options_.overview_px);
  const double overview_mpp = tiles.target_mpp * ratio;
  std::size_t unreadable = 0;
  const io::RgbImage real_picture = read_overview(io::TileReader(slide, overview_mpp), tiles, ratio, &unreadable);
  ctx.throw_if_stopped();
  const io::TileReader synthetic_overview(synthetic, overview_mpp);
  io::RgbImage synthetic_picture = read_overview(synthetic_overview, tiles, ratio);
  // Smaller levels of a virtual slide carry the notice already.
  if (synthetic_overview.level() < first_marked_level(synthetic->info().levels.size())) mark_picture(synthetic_picture);
  ctx.advance();

  ReportPage page;
  page.generator = options_.generator;
  page.facts = {{"Tiles", fmt::format("{} of {} px at {} µm/px", tiles.cells.size(), tiles.tile_px, tiles.target_mpp)},
                {"Extent", fmt::format("{:.2f} x {:.2f} mm",
                                       static_cast<double>(tiles.target_size.width) * tiles.target_mpp / 1000,
                                       static_cast<double>(tiles.target_size.height) * tiles.target_mpp / 1000)},
                {"Source", fmt::format("SHA-256 {}", tiles.slide_sha256)}};
  page.real = {"Real slide", jpeg(real_picture, kOverviewQuality)};
  page.synthetic = {"Virtual slide: synthetic, not for diagnosis", jpeg(synthetic_picture, kOverviewQuality)};
  page.overlay = {"The real slide; paler where no tissue was found, tiles outlined",
                  jpeg(draw_overlay(real_picture, tiles, ratio), kOverviewQuality)};
  page.pairs = read_pairs(io::TileReader(slide, tiles.target_mpp), io::TileReader(synthetic, tiles.target_mpp), tiles,
                          options_.tile_pairs, ctx, &unreadable);
  ctx.advance();
  if (inputs.contains("metrics")) page.metrics = read_metrics(inputs.at("metrics"));
  page.warnings = texts(options_.run.value("warnings", nlohmann::json::array()));
  if (unreadable != 0) {
    page.warnings.push_back(
        "Parts of the real slide cannot be decoded: they are hatched in its picture and left out of the tiles below.");
    ctx.warn(fmt::format("{}: parts of it cannot be decoded; they are hatched in the picture and left out of the tiles",
                         inputs.at("slide").string()));
  }
  page.stages = options_.run.value("stages", nlohmann::json());
  page.configuration = options_.run.value("configuration", nlohmann::json());
  const std::string html = render_report(page);
  write_file_atomically(outputs.at("report"), html);
  write_file_atomically(outputs.at("preview"), io::encode_png(draw_preview(real_picture, synthetic_picture)));
  ctx.advance();
  ctx.report("tile_pairs", page.pairs.size());
}

}  // namespace vtissue::stages
