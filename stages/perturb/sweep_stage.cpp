#include "stages/perturb/sweep_stage.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/bitmap_font.h"
#include "io/png.h"
#include "pipeline/run_context.h"
#include "stages/perturb/latent_subset.h"
#include "stages/perturb/tile_painter.h"
#include "stages/perturb/variant_figures.h"
#include "stages/stitch/overview.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {
namespace {

constexpr int kMostTilesShown = 6;  // by side
constexpr double kStripGain = 3;
constexpr std::int64_t kStripGap = 10;
constexpr std::int64_t kLongestPicture = 448;

/// What of the region is shown: all of it with half a tile around, or the part around `centre`.
Box<TargetPx> shown_box(const io::TileSet& tiles, std::span<const std::size_t> region, std::size_t centre) {
  const std::int64_t side = tiles.tile_px;
  Point<TargetPx> first = tiles.origin(tiles.cells[region.front()]), last = first;
  for (const std::size_t tile : region) {
    const Point<TargetPx> at = tiles.origin(tiles.cells[tile]);
    first = {std::min(first.x, at.x), std::min(first.y, at.y)};
    last = {std::max(last.x, at.x + side), std::max(last.y, at.y + side)};
  }
  const std::int64_t most = kMostTilesShown * side;
  const auto range = [&](std::int64_t low, std::int64_t high, std::int64_t middle) {
    if (high - low <= most) return std::pair(low - side / 2, high + side / 2);
    const std::int64_t start = std::clamp(middle - most / 2, low, high - most);
    return std::pair(start, start + most);
  };
  const Point<TargetPx> at = tiles.origin(tiles.cells[centre]);
  const auto [left, right] = range(first.x, last.x, at.x + side / 2);
  const auto [top, bottom] = range(first.y, last.y, at.y + side / 2);
  return {{left, top}, {right - left, bottom - top}};
}

io::RgbImage signed_difference(const io::RgbImage& before, const io::RgbImage& after) {
  io::RgbImage picture = before;
  for (std::size_t k = 0; k < picture.rgb.size(); ++k) {
    const double value = 128 + kStripGain * (double(after.rgb[k]) - double(before.rgb[k]));
    picture.rgb[k] = static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0, 255.0)));
  }
  return picture;
}

void paste_picture(const io::RgbImage& picture, Point<TargetPx> at, io::RgbImage& page) {
  for (std::int64_t y = 0; y < picture.size.height; ++y) {
    std::copy_n(picture.rgb.begin() + y * picture.size.width * 3, picture.size.width * 3,
                page.rgb.begin() + ((at.y + y) * page.size.width + at.x) * 3);
  }
}

/// Pictures in two rows, the second without its first; a caption above each column.
io::RgbImage draw_strip(const std::vector<io::RgbImage>& pictures, const std::vector<std::string>& captions,
                        const std::string& title) {
  const io::TextStyle style{.cap_height_px = 12, .color = {40, 44, 50}};
  io::TextStyle small = style, notice = style;
  small.cap_height_px = 10;
  notice.color = {122, 47, 99};
  const Size<TargetPx> size = pictures.front().size;
  std::int64_t column = size.width;
  for (const std::string& caption : captions) column = std::max(column, io::text_size(caption, style).width);
  const std::int64_t line = io::text_size("Hg", style).height + 8;
  const auto n = static_cast<std::int64_t>(pictures.size());
  const std::int64_t width =
      std::max({n * (column + kStripGap) + kStripGap, io::text_size(title, style).width + 2 * kStripGap,
                io::text_size(kSyntheticNotice, style).width + 2 * kStripGap});
  io::RgbImage page{{width, 2 * size.height + 4 * line + 4 * kStripGap}, {}};
  page.rgb.assign(static_cast<std::size_t>(page.size.area()) * 3, 255);
  io::draw_text(page, {kStripGap, kStripGap}, title, style);
  const std::int64_t top = kStripGap + 2 * line, second = top + size.height + kStripGap;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t left = kStripGap + i * (column + kStripGap);
    io::draw_text(page, {left, kStripGap + line}, captions[static_cast<std::size_t>(i)], style);
    io::RgbImage picture = pictures[static_cast<std::size_t>(i)];
    // Also in the picture itself, for whoever cuts it out.
    io::draw_text(picture, {4, picture.size.height - io::text_size("S", small).height - 4}, "SYNTHETIC", small);
    paste_picture(picture, {left, top}, page);
    if (i == 0) continue;
    paste_picture(signed_difference(pictures.front(), pictures[static_cast<std::size_t>(i)]), {left, second}, page);
  }
  io::draw_text(page, {kStripGap, second}, fmt::format("difference x {:.0f}", kStripGain), small);
  io::draw_text(page, {kStripGap, second + size.height + kStripGap}, kSyntheticNotice, notice);
  return page;
}

}  // namespace

SweepStage::SweepStage(SweepOptions options, std::shared_ptr<const models::Autoencoder> autoencoder,
                       std::shared_ptr<const models::MorphologyEncoder> encoder)
    : options_(std::move(options)), autoencoder_(std::move(autoencoder)), encoder_(std::move(encoder)) {}

std::string SweepStage::variant_port(std::size_t variant) { return fmt::format("variant_{:02}", variant); }

std::vector<pipeline::Port> SweepStage::inputs() const {
  std::vector<pipeline::Port> ports = {{.name = "tiles"}, {.name = "base"}, {.name = "region", .optional = true}};
  for (std::size_t k = 0; k < options_.captions.size(); ++k) ports.push_back({.name = variant_port(k)});
  return ports;
}

std::vector<pipeline::Port> SweepStage::outputs() const { return {{.name = "strip"}, {.name = "table"}}; }

nlohmann::json SweepStage::identity() const {
  const models::DecodeWindow window = autoencoder_->decode_window();
  return {{"captions", options_.captions},
          {"region", options_.region.to_json()},
          {"glass", options_.glass},
          {"autoencoder", {{"sha256", autoencoder_->info().sha256}, {"micro_batch", autoencoder_->info().micro_batch}}},
          {"decode_window", {window.inner, window.halo, window.ramp}},
          {"encoder", {{"sha256", encoder_->info().sha256}, {"micro_batch", encoder_->info().micro_batch}}},
          {"numerics_class", options_.numerics_class}};
}

void SweepStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                     pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const std::vector<std::size_t> region = region_tiles(tiles, options_.region, optional_input(inputs, "region"));
  std::vector<std::filesystem::path> stores = {inputs.at("base")};
  std::vector<ComparedStore> pairs;
  for (std::size_t k = 0; k < options_.captions.size(); ++k) {
    stores.push_back(inputs.at(variant_port(k)));
    pairs.push_back({0, k + 1});
  }
  const auto figures = variant_figures(tiles, region, stores, pairs, *autoencoder_, *encoder_, options_.glass, ctx);

  std::string table = "change\tmean_absolute_difference\tred\tgreen\tblue\tembedding_distance\n";
  std::size_t centre = region.front();
  float most = -1;
  for (std::size_t k = 0; k < figures.size(); ++k) {
    const VariantFigure mean = mean_figure(figures[k]);
    table += fmt::format("{}\t{:.4f}\t{:.4f}\t{:.4f}\t{:.4f}\t{:.6f}\n", options_.captions[k], mean.magnitude,
                         mean.shift[0], mean.shift[1], mean.shift[2], mean.distance);
    for (std::size_t i = 0; i < region.size(); ++i) {
      if (figures[k][i].magnitude <= most) continue;
      most = figures[k][i].magnitude;
      centre = region[i];
    }
  }
  const Box<TargetPx> box = shown_box(tiles, region, centre);
  std::vector<io::RgbImage> pictures;
  for (const std::filesystem::path& store : stores) {
    ctx.throw_if_stopped();
    const TilePainter painter(tiles, store, *autoencoder_, options_.glass);
    pictures.push_back(fit_picture(painter.paint(box), {kLongestPicture, kLongestPicture}));
  }
  std::vector<std::string> captions = {"as the run has it"};
  captions.insert(captions.end(), options_.captions.begin(), options_.captions.end());
  const std::string title =
      fmt::format("{} tile{} of {:.0f} µm, same noise; {:.0f} µm shown", region.size(), region.size() == 1 ? "" : "s",
                  tiles.tile_px * tiles.target_mpp, static_cast<double>(box.size.width) * tiles.target_mpp);
  const std::vector<std::byte> png = io::encode_png(draw_strip(pictures, captions, title));
  write_file_atomically(outputs.at("strip"), png);
  write_file_atomically(outputs.at("table"), table);
  ctx.report("tiles", region.size());
  ctx.report("largest_difference", most);
}

}  // namespace vtissue::stages
