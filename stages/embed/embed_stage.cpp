#include "stages/embed/embed_stage.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/error.h"
#include "io/feature_store.h"
#include "io/slide_reader.h"
#include "io/tile_reader.h"
#include "pipeline/run_context.h"
#include "stages/embed/feature_chunks.h"
#include "stages/embed/given_features.h"
#include "stages/embed/slide_of_tiles.h"

namespace vtissue::stages {
namespace {

constexpr int kSubtileGrid = 3;
constexpr std::size_t kMostListed = 1000;  // skipped tiles in the report

/// The nine sub-tiles of a tile [px, px, 3], appended row-major.
void append_subtiles(std::span<const std::uint8_t> tile, int px, std::vector<std::uint8_t>& out) {
  const int side = px / kSubtileGrid;
  const std::size_t row_bytes = static_cast<std::size_t>(side) * 3;
  for (int index = 0; index < kSubtileGrid * kSubtileGrid; ++index) {
    const int top = index / kSubtileGrid * side;
    const int left = index % kSubtileGrid * side;
    for (int y = top; y < top + side; ++y) {
      const auto row = tile.subspan((static_cast<std::size_t>(y) * px + left) * 3, row_bytes);
      out.insert(out.end(), row.begin(), row.end());
    }
  }
}

nlohmann::json describe(const models::ModelInfo& model) {
  return {{"sha256", model.sha256}, {"micro_batch", model.micro_batch}};
}

}  // namespace

/// Tiles between reader and encoder; the pixels are let go once they are encoded.
struct EmbedStage::Chunk {
  std::size_t n = 0;
  std::vector<std::uint8_t> rgb;  ///< [n, tile_px, tile_px, 3]; white where not valid
  FeatureRows rows;
};

EmbedStage::EmbedStage(EmbedOptions options, std::shared_ptr<const models::MorphologyEncoder> encoder,
                       std::shared_ptr<const models::MorphologyEncoder> predictor_encoder)
    : options_(std::move(options)), encoder_(std::move(encoder)), predictor_encoder_(std::move(predictor_encoder)) {}

std::vector<pipeline::Port> EmbedStage::inputs() const {
  return {{.name = "slide"}, {.name = "tiles"}, {.name = "patch_features", .optional = true}};
}

std::vector<pipeline::Port> EmbedStage::outputs() const { return {{.name = "features"}}; }

bool EmbedStage::stores_predictor() const {
  return predictor_encoder_ != nullptr &&
         (options_.predictor_subtiles || predictor_encoder_->info().sha256 != encoder_->info().sha256);
}

std::size_t EmbedStage::values_per_tile() const {
  const std::size_t predictor =
      stores_predictor() ? static_cast<std::size_t>(predictor_vectors()) * predictor_encoder_->dim() : 0;
  return static_cast<std::size_t>(encoder_->dim()) + predictor;
}

std::size_t EmbedStage::rows_per_chunk() const {
  return stages::rows_per_chunk(options_.chunk_tiles, encoder_->info().micro_batch);
}

nlohmann::json EmbedStage::settings() const {
  return {{"on_bad_tile", options_.on_bad_tile == OnBadTile::kSkip ? "skip" : "fail"}};
}

nlohmann::json EmbedStage::identity() const {
  nlohmann::json identity = settings();
  identity["chunk_tiles"] = rows_per_chunk();
  identity["encoder"] = describe(encoder_->info());
  identity["numerics_class"] = options_.numerics_class;
  if (stores_predictor()) {
    identity["predictor_encoder"] = describe(predictor_encoder_->info());
    identity["predictor_vectors"] = predictor_vectors();
  }
  return identity;
}

void EmbedStage::preflight(const pipeline::Bindings& available_inputs) const {
  const auto slide = available_inputs.find("slide");
  const auto tiles = available_inputs.find("tiles");
  if (tiles == available_inputs.end()) {
    if (slide != available_inputs.end()) io::SlideReader::open(slide->second);
    return;
  }
  const io::TileSet set = io::read_tiles(tiles->second);
  if (stores_predictor() && options_.predictor_subtiles && set.tile_px < kSubtileGrid) {
    throw Error(ErrorCode::kBadInput, "{}: tiles of {} px have no 3x3 sub-tiles", tiles->second.string(), set.tile_px);
  }
  if (slide != available_inputs.end()) open_slide_of(slide->second, set);
  if (const auto given = available_inputs.find("patch_features"); given != available_inputs.end()) {
    GivenFeatures(given->second, set, encoder_->dim());
  }
}

pipeline::Estimate EmbedStage::estimate(const pipeline::Bindings& available_inputs) const {
  const auto tiles = available_inputs.find("tiles");
  if (tiles == available_inputs.end()) return {};
  const io::TileSet set = io::read_tiles(tiles->second);
  const TileChunks chunks{set.cells.size(), rows_per_chunk()};
  return {.chunks = static_cast<std::int64_t>(chunks.count()),
          .disk_bytes = static_cast<std::int64_t>(set.cells.size() * values_per_tile() * sizeof(float)),
          .note = fmt::format("{} tiles of {} px", set.cells.size(), set.tile_px)};
}

void EmbedStage::compute(Chunk& chunk, int tile_px, bool has_morphology) const {
  chunk.rows.values.resize(chunk.n * values_per_tile());
  const std::span<float> values(chunk.rows.values);
  const std::size_t morphology = chunk.n * static_cast<std::size_t>(encoder_->dim());
  const int n = static_cast<int>(chunk.n);
  if (!has_morphology) encoder_->encode(chunk.rgb, n, tile_px, values.first(morphology));
  if (!stores_predictor()) return;

  // Spots and sub-tiles differ in size, so they are encoded apart and interleaved: [n, 1 + 9, dim].
  const std::size_t dim = static_cast<std::size_t>(predictor_encoder_->dim());
  const auto vectors = static_cast<std::size_t>(predictor_vectors());
  std::span<float> out = values.subspan(morphology);
  std::vector<float> spots(chunk.n * dim);
  predictor_encoder_->encode(chunk.rgb, n, tile_px, spots);
  for (std::size_t i = 0; i < chunk.n; ++i) {
    std::copy_n(spots.begin() + static_cast<std::ptrdiff_t>(i * dim), dim, out.subspan(i * vectors * dim).begin());
  }
  if (!options_.predictor_subtiles) return;
  const std::size_t tile_bytes = static_cast<std::size_t>(tile_px) * tile_px * 3;
  std::vector<std::uint8_t> parts;
  parts.reserve(chunk.rgb.size());
  for (std::size_t i = 0; i < chunk.n; ++i) {
    append_subtiles(std::span(chunk.rgb).subspan(i * tile_bytes, tile_bytes), tile_px, parts);
  }
  std::vector<float> sub(chunk.n * (vectors - 1) * dim);
  predictor_encoder_->encode(parts, n * (predictor_vectors() - 1), tile_px / kSubtileGrid, sub);
  for (std::size_t i = 0; i < chunk.n; ++i) {
    std::copy_n(sub.begin() + static_cast<std::ptrdiff_t>(i * (vectors - 1) * dim), (vectors - 1) * dim,
                out.subspan((i * vectors + 1) * dim).begin());
  }
}

nlohmann::json EmbedStage::compare_given(const GivenFeatures& given, const io::TileReader& reader,
                                         const io::TileSet& tiles) const {
  const auto side = static_cast<std::int64_t>(tiles.tile_px);
  return given.compare([&](std::span<const std::size_t> chosen) {
    std::vector<std::uint8_t> pixels;
    for (const std::size_t tile : chosen) {
      const std::vector<std::uint8_t> rgb = reader.read({tiles.origin(tiles.cells[tile]), {side, side}});
      pixels.insert(pixels.end(), rgb.begin(), rgb.end());
    }
    std::vector<float> values(chosen.size() * static_cast<std::size_t>(encoder_->dim()));
    encoder_->encode(pixels, static_cast<int>(chosen.size()), tiles.tile_px, values);
    return values;
  });
}

void EmbedStage::write_features(const std::filesystem::path& path, const io::TileSet& tiles,
                                const nlohmann::json& stated, pipeline::RunContext& ctx) const {
  const TileChunks chunks{tiles.cells.size(), rows_per_chunk()};
  struct Set {
    io::FeatureSetInfo info;
    std::size_t offset;  ///< of the set's values for one tile among values_per_tile()
  };
  const std::size_t dim = static_cast<std::size_t>(encoder_->dim());
  std::vector<Set> sets = {{{.name = "morphology",
                             .encoder = encoder_->info().name,
                             .encoder_sha256 = encoder_->info().sha256,
                             .geometry = "tile",
                             .vectors = 1,
                             .dim = encoder_->dim()},
                            0}};
  if (stores_predictor()) {
    sets.push_back({{.name = "predictor",
                     .encoder = predictor_encoder_->info().name,
                     .encoder_sha256 = predictor_encoder_->info().sha256,
                     .geometry = options_.predictor_subtiles ? "tile+3x3" : "tile",
                     .vectors = predictor_vectors(),
                     .dim = predictor_encoder_->dim()},
                    dim});
  }
  io::FeatureWriter writer(path, tiles.cells, tiles.slide_sha256, stated.dump(), tiles.grid());
  std::vector<TileCell> skipped;
  for (const Set& set : sets) {
    writer.begin_set(set.info);
    const std::size_t per_tile = static_cast<std::size_t>(set.info.vectors) * set.info.dim;
    for (std::uint64_t id = 0; id < chunks.count(); ++id) {
      ctx.throw_if_stopped();
      const std::size_t n = chunks.size(id);
      FeatureRows rows = unpack_rows(ctx.chunks(), id, n, n * values_per_tile());
      const std::span<float> values = std::span(rows.values).subspan(n * set.offset, n * per_tile);
      for (std::size_t i = 0; i < n; ++i) {
        if (rows.valid[i] == 0) std::ranges::fill(values.subspan(i * per_tile, per_tile), 0.0f);
      }
      writer.append(values, rows.valid);
      for (std::size_t i = 0; set.offset == 0 && i < n; ++i) {
        if (rows.valid[i] == 0) skipped.push_back(tiles.cells[chunks.first(id) + i]);
      }
    }
  }
  if (!tiles.cells.empty() && skipped.size() == tiles.cells.size()) {
    throw Error(ErrorCode::kBadInput, "not one of the {} tiles could be read from the slide; fetch it again",
                tiles.cells.size());
  }
  writer.finish();
  ctx.report("tiles", tiles.cells.size());
  ctx.report("tiles_skipped", skipped.size());
  if (skipped.empty()) return;
  nlohmann::json listed = nlohmann::json::array();
  for (const TileCell cell : std::span(skipped).first(std::min(skipped.size(), kMostListed))) {
    listed.push_back({cell.column, cell.row});
  }
  ctx.report("skipped_tiles", listed);
  ctx.warn(fmt::format(
      "{} of {} tiles could not be read from the slide and have no morphology (on_bad_tile: skip), the first of them "
      "({}, {})",
      skipped.size(), tiles.cells.size(), skipped.front().column, skipped.front().row));
}

void EmbedStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                     pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const std::filesystem::path& slide = inputs.at("slide");
  const io::TileReader reader(open_slide_of(slide, tiles), tiles.target_mpp);
  require_slide_of(slide, ctx.input_sha256("slide", slide), tiles);
  const TileChunks chunks{tiles.cells.size(), rows_per_chunk()};
  const auto side = static_cast<std::int64_t>(tiles.tile_px);
  const std::size_t tile_bytes = static_cast<std::size_t>(side * side) * 3;
  const pipeline::ChunkIds own = ctx.share(chunks.count());
  ctx.set_total(chunks.rows(own), "tiles");
  nlohmann::json stated = settings();
  std::optional<GivenFeatures> given;
  if (const auto bound = inputs.find("patch_features"); bound != inputs.end()) {
    given.emplace(bound->second, tiles, encoder_->dim());
    nlohmann::json about = compare_given(*given, reader, tiles);
    ctx.report("patch_features", about);
    about["sha256"] = ctx.input_sha256("patch_features", bound->second);
    stated["patch_features"] = std::move(about);
  }
  const bool needs_pixels = !given || stores_predictor();

  pipeline::for_each_chunk<Chunk>(
      ctx, own,
      [&](std::uint64_t id) {
        Chunk chunk{.n = chunks.size(id)};
        if (given) {
          chunk.rows.values.resize(chunk.n * values_per_tile());
          given->read(chunks.first(id), chunk.n,
                      std::span(chunk.rows.values).first(chunk.n * static_cast<std::size_t>(encoder_->dim())));
        }
        chunk.rows.valid.assign(chunk.n, 1);
        if (!needs_pixels) return chunk;
        chunk.rgb.assign(chunk.n * tile_bytes, 255);
        for (std::size_t i = 0; i < chunk.n; ++i) {
          const TileCell cell = tiles.cells[chunks.first(id) + i];
          try {
            const std::vector<std::uint8_t> rgb = reader.read({tiles.origin(cell), {side, side}});
            std::ranges::copy(rgb, chunk.rgb.begin() + static_cast<std::ptrdiff_t>(i * tile_bytes));
          } catch (Error& e) {
            if (e.code() != ErrorCode::kBadInput || options_.on_bad_tile == OnBadTile::kFail) {
              e.add("tile ({}, {})", cell.column, cell.row);
              throw;
            }
            chunk.rows.valid[i] = 0;
          }
        }
        return chunk;
      },
      [&](std::uint64_t, Chunk& chunk) {
        compute(chunk, tiles.tile_px, given.has_value());
        chunk.rgb = {};
      },
      [](std::uint64_t, Chunk& chunk) { return pack_rows(chunk.rows); },
      [&](std::uint64_t id) { return static_cast<std::int64_t>(chunks.size(id)); });

  if (!ctx.shard()) write_features(outputs.at("features"), tiles, stated, ctx);
}

}  // namespace vtissue::stages
