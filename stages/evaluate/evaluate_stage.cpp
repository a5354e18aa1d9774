#include "stages/evaluate/evaluate_stage.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/feature_store.h"
#include "io/latent_store.h"
#include "io/slide_reader.h"
#include "io/tile_reader.h"
#include "io/tile_store.h"
#include "pipeline/run_context.h"
#include "stages/embed/feature_chunks.h"
#include "stages/embed/slide_of_tiles.h"
#include "stages/evaluate/metrics_report.h"
#include "stages/evaluate/seam_report.h"
#include "stages/evaluate/tile_comparison.h"

namespace vtissue::stages {
namespace {

constexpr std::string_view kSet = "morphology";
// Of a tile's row, once for the real and once for the virtual tile: mean RGB, gradient energy, readout.
constexpr std::size_t kSideValues = 4 + TileReadout::kValues;
constexpr std::size_t kPixelValues = 2 * kSideValues;
constexpr std::size_t kThresholdTiles = 64;

/// Tiles that are compared: valid ones, evenly spread if there are more than `most`.
std::vector<std::size_t> compared_tiles(std::span<const std::uint8_t> valid, int most) {
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < valid.size(); ++i) {
    if (valid[i] != 0) rows.push_back(i);
  }
  const auto limit = static_cast<std::size_t>(most);
  if (rows.size() <= limit) return rows;
  std::vector<std::size_t> spread;
  for (std::size_t k = 0; k < limit; ++k) spread.push_back(rows[k * rows.size() / limit]);
  return spread;
}

/// With the tiles' own µm/px, so that no rounding in the file's resolution tag moves a pixel.
std::shared_ptr<io::SlideReader> open_virtual(const std::filesystem::path& path, const io::TileSet& tiles) {
  constexpr double kMppTolerance = 0.01;
  const auto as_stored = io::SlideReader::open(path);
  const auto size = as_stored->info().levels.front().size;
  const auto& mpp = as_stored->info().mpp;
  if (mpp && std::abs(mpp->x / tiles.target_mpp - 1) > kMppTolerance) {
    throw Error(ErrorCode::kBadInput, "{}: {} µm/px, but the tiles have {}; it is not the virtual slide of these tiles",
                path.string(), mpp->x, tiles.target_mpp);
  }
  if (size.width < tiles.target_size.width || size.height < tiles.target_size.height) {
    throw Error(ErrorCode::kBadInput,
                "{}: {} x {} pixels, fewer than the {} x {} of the tiles; it is not the virtual slide "
                "of these tiles",
                path.string(), size.width, size.height, tiles.target_size.width, tiles.target_size.height);
  }
  return io::SlideReader::open(path, {.mpp = tiles.target_mpp});
}

void check_features(const std::filesystem::path& path, const io::FeatureReader& features, const io::TileSet& tiles,
                    const models::MorphologyEncoder& encoder) {
  const io::FeatureSetInfo info = features.info(kSet);
  if (features.cells() != tiles.cells || features.grid() != tiles.grid()) {
    throw Error(ErrorCode::kBadInput, "{}: made for other tiles ({} rows, {} tiles); run embed again", path.string(),
                features.cells().size(), tiles.cells.size());
  }
  require_same_slide(path, features.slide_sha256(), tiles.slide_sha256, "the tiles", "embed");
  if (info.encoder_sha256 != encoder.info().sha256 || info.vectors != 1 || info.dim != encoder.dim()) {
    throw Error(
        ErrorCode::kModel,
        "{}: the real tiles were embedded by {} (dim {}, sha256 {}), the virtual ones would be by {} (dim {}, sha256 "
        "{}); use the same encoder for both",
        path.string(), info.encoder, info.dim, info.encoder_sha256, encoder.info().name, encoder.dim(),
        encoder.info().sha256);
  }
}

void append_pixels(std::span<const std::uint8_t> rgb, int side, const TissueReader& tissue, std::vector<float>& out) {
  const TilePixels pixels = describe_pixels(rgb, side);
  for (const double mean : pixels.mean_rgb) out.push_back(static_cast<float>(mean));
  out.push_back(static_cast<float>(pixels.gradient_energy));
  tissue.read(rgb).append_to(out);
}

/// Takes apart what append_pixels() appended.
void add_stored(std::span<const float> values, std::vector<TilePixels>& pixels, std::vector<TileReadout>& readouts) {
  pixels.push_back({{values[0], values[1], values[2]}, values[3]});
  readouts.push_back(TileReadout::from(values.subspan(4, TileReadout::kValues)));
}

struct ComparisonChunk {
  std::vector<std::uint8_t> rgb;  ///< virtual tiles, [n, side, side, 3]
  std::vector<float> pixels;      ///< [n, kPixelValues]
  FeatureRows rows;               ///< values: embeddings [n, dim], then pixels
};

std::vector<std::uint8_t> read_tile(const io::TileReader& reader, const io::TileSet& tiles, TileCell cell,
                                    std::string_view what) {
  try {
    return reader.read({tiles.origin(cell), {tiles.tile_px, tiles.tile_px}});
  } catch (Error& e) {
    e.add("{} tile ({}, {})", what, cell.column, cell.row);
    throw;
  }
}

/// Set by some of the real tiles, evenly spread.
TissueReader tissue_reader(const io::TileReader& real, const io::TileSet& tiles,
                           const std::vector<std::size_t>& compared) {
  std::vector<std::vector<std::uint8_t>> samples;
  const std::size_t count = std::min(kThresholdTiles, compared.size());
  for (std::size_t i = 0; i < count; ++i) {
    samples.push_back(read_tile(real, tiles, tiles.cells[compared[i * compared.size() / count]], "real"));
  }
  return {tiles.target_mpp, tiles.tile_px, samples};
}

}  // namespace

EvaluateStage::EvaluateStage(EvaluateOptions options, std::shared_ptr<const models::MorphologyEncoder> encoder,
                             std::shared_ptr<models::Device> device,
                             std::shared_ptr<const models::Autoencoder> autoencoder)
    : options_(std::move(options)),
      encoder_(std::move(encoder)),
      device_(std::move(device)),
      autoencoder_(std::move(autoencoder)) {}

std::vector<pipeline::Port> EvaluateStage::inputs() const {
  return {{.name = "slide"},
          {.name = "tiles"},
          {.name = "features"},
          {.name = "virtual"},
          {.name = "latents", .optional = true}};
}

std::vector<pipeline::Port> EvaluateStage::outputs() const { return {{.name = "metrics"}}; }

const models::Autoencoder& EvaluateStage::require_autoencoder() const {
  if (autoencoder_ == nullptr) {
    throw Error(ErrorCode::kUsage,
                "latents are given to look for seams in, but no autoencoder; set models.autoencoder");
  }
  return *autoencoder_;
}

std::size_t EvaluateStage::rows_per_chunk() const {
  return stages::rows_per_chunk(options_.chunk_tiles, encoder_->info().micro_batch);
}

nlohmann::json EvaluateStage::identity() const {
  nlohmann::json identity = {
      {"max_tiles", options_.max_tiles},
      {"chunk_tiles", rows_per_chunk()},
      {"encoder", {{"sha256", encoder_->info().sha256}, {"micro_batch", encoder_->info().micro_batch}}},
      {"numerics_class", options_.numerics_class}};
  if (autoencoder_ != nullptr) {
    identity["seam_boxes"] = options_.seam_boxes;
    identity["background"] = options_.background;
    identity["autoencoder"] = autoencoder_->info().sha256;
  }
  return identity;
}

void EvaluateStage::preflight(const pipeline::Bindings& available_inputs) const {
  const auto bound = [&](std::string_view port) {
    const auto found = available_inputs.find(port);
    return found == available_inputs.end() ? nullptr : &found->second;
  };
  const auto* tiles_path = bound("tiles");
  if (tiles_path == nullptr) return;
  const io::TileSet tiles = io::read_tiles(*tiles_path);
  if (const auto* path = bound("slide")) open_slide_of(*path, tiles);
  if (const auto* path = bound("virtual")) open_virtual(*path, tiles);
  if (const auto* path = bound("latents")) {
    require_decodable(*path, io::LatentReader(*path), *tiles_path, tiles, require_autoencoder());
  }
  if (const auto* path = bound("features")) check_features(*path, io::FeatureReader(*path), tiles, *encoder_);
}

pipeline::Estimate EvaluateStage::estimate(const pipeline::Bindings& available_inputs) const {
  const auto tiles = available_inputs.find("tiles");
  if (tiles == available_inputs.end()) return {};
  const std::size_t count =
      std::min(io::read_tiles(tiles->second).cells.size(), static_cast<std::size_t>(options_.max_tiles));
  return {.chunks = static_cast<std::int64_t>(TileChunks{count, rows_per_chunk()}.count()),
          .disk_bytes = static_cast<std::int64_t>(count * (static_cast<std::size_t>(encoder_->dim()) + kPixelValues) *
                                                  sizeof(float)),
          .note = fmt::format("{} tiles compared", count)};
}

void EvaluateStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                        pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const io::FeatureReader features(inputs.at("features"));
  check_features(inputs.at("features"), features, tiles, *encoder_);
  const io::TileReader real(open_slide_of(inputs.at("slide"), tiles), tiles.target_mpp);
  require_slide_of(inputs.at("slide"), ctx.input_sha256("slide", inputs.at("slide")), tiles);
  const io::TileReader made(open_virtual(inputs.at("virtual"), tiles), tiles.target_mpp);

  const auto dim = static_cast<std::size_t>(encoder_->dim());
  std::vector<std::uint8_t> valid;
  {
    // In blocks: all rows of a large slide would not fit the memory that is promised.
    std::vector<float> values;
    std::vector<std::uint8_t> block;
    for (std::size_t first = 0; first < tiles.cells.size(); first += 4096) {
      features.read(kSet, first, std::min<std::size_t>(4096, tiles.cells.size() - first), values, block);
      valid.insert(valid.end(), block.begin(), block.end());
    }
  }
  const std::vector<std::size_t> compared = compared_tiles(valid, options_.max_tiles);
  if (compared.empty()) {
    throw Error(ErrorCode::kBadInput, "{}: no tile has an embedding; nothing to compare",
                inputs.at("features").string());
  }
  const TissueReader tissue = tissue_reader(real, tiles, compared);
  const TileChunks chunks{compared.size(), rows_per_chunk()};
  ctx.set_total(static_cast<std::int64_t>(compared.size()), "tiles");

  pipeline::for_each_chunk<ComparisonChunk>(
      ctx, chunks.count(),
      [&](std::uint64_t id) {
        ComparisonChunk chunk;
        chunk.rows.valid.assign(chunks.size(id), 1);
        for (std::size_t i = 0; i < chunks.size(id); ++i) {
          const TileCell cell = tiles.cells[compared[chunks.first(id) + i]];
          append_pixels(read_tile(real, tiles, cell, "real"), tiles.tile_px, tissue, chunk.pixels);
          const std::vector<std::uint8_t> rgb = read_tile(made, tiles, cell, "virtual");
          append_pixels(rgb, tiles.tile_px, tissue, chunk.pixels);
          chunk.rgb.insert(chunk.rgb.end(), rgb.begin(), rgb.end());
        }
        return chunk;
      },
      [&](std::uint64_t id, ComparisonChunk& chunk) {
        chunk.rows.values.resize(chunks.size(id) * dim);
        encoder_->encode(chunk.rgb, static_cast<int>(chunks.size(id)), tiles.tile_px, chunk.rows.values);
        chunk.rgb = {};
      },
      [](std::uint64_t, ComparisonChunk& chunk) {
        chunk.rows.values.insert(chunk.rows.values.end(), chunk.pixels.begin(), chunk.pixels.end());
        return pack_rows(chunk.rows);
      },
      [&](std::uint64_t id) { return static_cast<std::int64_t>(chunks.size(id)); });

  TileComparisons all;
  all.dim = encoder_->dim();
  for (std::uint64_t id = 0; id < chunks.count(); ++id) {
    ctx.throw_if_stopped();
    const std::size_t n = chunks.size(id);
    const FeatureRows rows = unpack_rows(ctx.chunks(), id, n, n * (dim + kPixelValues));
    const auto pixels = std::span(rows.values).subspan(n * dim);
    all.made.insert(all.made.end(), rows.values.begin(), rows.values.begin() + static_cast<std::ptrdiff_t>(n * dim));
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<float> row;
      std::vector<std::uint8_t> flag;
      features.read(kSet, compared[chunks.first(id) + i], 1, row, flag);
      all.real.insert(all.real.end(), row.begin(), row.end());
      add_stored(pixels.subspan(i * kPixelValues, kSideValues), all.real_pixels, all.real_readouts);
      add_stored(pixels.subspan(i * kPixelValues + kSideValues, kSideValues), all.made_pixels, all.made_readouts);
    }
  }
  nlohmann::json metrics = metrics_report(all, *device_);
  metrics["tissue"] = readout_report(all.real_readouts, all.made_readouts, tissue.threshold());
  metrics["encoder"] = {{"name", encoder_->info().name}, {"sha256", encoder_->info().sha256}, {"dim", encoder_->dim()}};
  metrics["tiles"]["of_slide"] = tiles.cells.size();
  metrics["tiles"]["without_embedding"] = std::ranges::count(valid, std::uint8_t{0});
  metrics["numerics_class"] = options_.numerics_class;
  if (const auto latents = inputs.find("latents"); latents != inputs.end()) {
    const io::LatentReader reader(latents->second);
    require_decodable(latents->second, reader, inputs.at("tiles"), tiles, require_autoencoder());
    const LatentDecoder decoder(tiles, reader, *autoencoder_, options_.background);
    metrics["seams"] = seam_report(decoder, real, tiles, options_.seam_boxes, ctx);
    ctx.report("seams", metrics["seams"]["virtual"]["lines"]);
  }
  write_file_atomically(outputs.at("metrics"), metrics.dump(2) + "\n");

  for (const auto& note : metrics["notes"]) ctx.warn(note.get<std::string>());
  ctx.report("tiles_compared", compared.size());
  ctx.report("frechet_distance", metrics["frechet_distance"]["real_vs_virtual"]);
  ctx.report("mean_cosine", metrics["same_tile"]["mean_cosine"]);
}

}  // namespace vtissue::stages
