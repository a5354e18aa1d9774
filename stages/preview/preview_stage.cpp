#include "stages/preview/preview_stage.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/latent_store.h"
#include "io/png.h"
#include "io/slide_reader.h"
#include "io/tile_reader.h"
#include "io/tile_store.h"
#include "pipeline/run_context.h"
#include "stages/embed/slide_of_tiles.h"
#include "stages/report/report_pictures.h"
#include "stages/stitch/latent_decoder.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {
namespace {

constexpr std::int64_t kMostPixels = 64'000'000;
constexpr std::int64_t kBlockSide = 512;  // decoded at once; changes no pixel

/// The region, in the file's pixels, at the target µm/px, cut at the slide's borders.
Box<TargetPx> shown_box(const Box<Level0Px>& region, const io::TileSet& tiles) {
  const Size<TargetPx> slide = tiles.target_size;
  const auto across = [&tiles](std::int64_t px) { return std::llround(static_cast<double>(px) / tiles.scale()); };
  const auto down = [&tiles](std::int64_t px) {
    return std::llround(static_cast<double>(px) * tiles.pixel_aspect / tiles.scale());
  };
  const std::int64_t left = std::clamp<std::int64_t>(across(region.origin.x), 0, slide.width);
  const std::int64_t top = std::clamp<std::int64_t>(down(region.origin.y), 0, slide.height);
  const std::int64_t right = std::clamp<std::int64_t>(across(region.origin.x + region.size.width), left, slide.width);
  const std::int64_t bottom = std::clamp<std::int64_t>(down(region.origin.y + region.size.height), top, slide.height);
  return {{left, top}, {right - left, bottom - top}};
}

}  // namespace

Box<Level0Px> grown_region(const Box<Level0Px>& region, double tiles, double tile_um, double slide_mpp) {
  const auto by = static_cast<std::int64_t>(std::ceil(tiles * tile_um / slide_mpp));
  return {{region.origin.x - by, region.origin.y - by}, {region.size.width + 2 * by, region.size.height + 2 * by}};
}

PreviewStage::PreviewStage(PreviewOptions options, std::shared_ptr<const models::Autoencoder> autoencoder)
    : options_(std::move(options)), autoencoder_(std::move(autoencoder)) {}

std::vector<pipeline::Port> PreviewStage::inputs() const {
  return {{.name = "slide"}, {.name = "tiles"}, {.name = "latents"}};
}

std::vector<pipeline::Port> PreviewStage::outputs() const { return {{.name = "preview"}}; }

nlohmann::json PreviewStage::identity() const {
  const Box<Level0Px>& region = options_.region;
  return {{"region", {region.origin.x, region.origin.y, region.size.width, region.size.height}},
          {"background", options_.background},
          {"autoencoder", {{"sha256", autoencoder_->info().sha256}, {"micro_batch", autoencoder_->info().micro_batch}}},
          {"numerics_class", options_.numerics_class}};
}

void PreviewStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                       pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const io::LatentReader latents(inputs.at("latents"));
  require_decodable(inputs.at("latents"), latents, inputs.at("tiles"), tiles, *autoencoder_);
  const io::TileReader real(open_slide_of(inputs.at("slide"), tiles), tiles.target_mpp);
  const Box<TargetPx> box = shown_box(options_.region, tiles);
  if (box.size.area() > kMostPixels) {
    throw Error(ErrorCode::kUsage,
                "a preview of {} x {} px is too large for one picture; give a smaller --region, or leave out --preview",
                box.size.width, box.size.height);
  }
  if (box.size.empty()) {
    throw Error(ErrorCode::kUsage, "the region has no pixel at {} µm/px; give a larger --region", tiles.target_mpp);
  }
  const LatentDecoder decoder(tiles, latents, *autoencoder_, options_.background);
  io::RgbImage synthetic{box.size, std::vector<std::uint8_t>(static_cast<std::size_t>(box.size.area()) * 3)};
  const std::int64_t columns = (box.size.width + kBlockSide - 1) / kBlockSide;
  const std::int64_t rows = (box.size.height + kBlockSide - 1) / kBlockSide;
  ctx.set_total(columns * rows, "blocks");
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      ctx.throw_if_stopped();
      const Point<TargetPx> at{column * kBlockSide, row * kBlockSide};
      const Size<TargetPx> size{std::min(kBlockSide, box.size.width - at.x),
                                std::min(kBlockSide, box.size.height - at.y)};
      const Box<TargetPx> part{{box.origin.x + at.x, box.origin.y + at.y}, size};
      std::vector<std::uint8_t> pixels(static_cast<std::size_t>(size.area()) * 3);
      const auto [red, green, blue] = options_.background;
      fill_glass(part.origin, size, {red, green, blue}, pixels);
      LatentDecoder::Windows windows = decoder.gather(part);
      decoder.decode(windows);
      decoder.compose(windows, pixels);
      for (std::int64_t y = 0; y < size.height; ++y) {
        std::copy_n(pixels.begin() + y * size.width * 3, size.width * 3,
                    synthetic.rgb.begin() + ((at.y + y) * box.size.width + at.x) * 3);
      }
      ctx.advance();
    }
  }
  mark_picture(synthetic);
  const io::RgbImage beside{box.size, real.read(box)};
  write_file_atomically(outputs.at("preview"), io::encode_png(draw_preview(beside, synthetic)));
  ctx.report("width_px", box.size.width);
  ctx.report("height_px", box.size.height);
}

}  // namespace vtissue::stages
