#include "stages/synthesize/synthesize_stage.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "io/half.h"
#include "io/latent_store.h"
#include "models/noise.h"
#include "models/samplers/sampler.h"
#include "pipeline/run_context.h"
#include "pipeline/shard.h"
#include "stages/embed/feature_chunks.h"
#include "stages/synthesize/canvas_synthesis.h"
#include "stages/synthesize/exact_conditions.h"
#include "stages/synthesize/tile_conditions.h"
#include "stages/synthesize/tissue_canvas.h"
#include "stages/synthesize/tissue_pieces.h"

namespace vtissue::stages {
namespace {

namespace fs = std::filesystem;

constexpr int kLatentFactor = 8;           // pixels per latent of every autoencoder family (models.md 3)
constexpr std::uint32_t kInitialDraw = 0;  // of models::latent_noise
constexpr float kLargestHalf = 65504.0f;
constexpr int kPatch = 2;  // latents, of every denoiser of the family (models.md 1.1)

struct SynthesisChunk {
  std::size_t n = 0;
  std::vector<float> x;  ///< [n, C, size, size]: noise, then the result
  ConditionRows conditions;
};

models::Sampler resolve_sampler(const SynthesizeOptions& options, const models::Denoiser& denoiser) {
  const bool velocity = denoiser.predicts_velocity();
  std::string name = options.sampler;
  if (name == "auto") name = velocity ? "flow" : "dpmpp";
  models::Sampler sampler =
      models::make_sampler({.name = name, .steps = options.steps, .spacing = options.spacing, .shift = options.shift});
  if (sampler.predicts_velocity() != velocity) {
    throw Error(ErrorCode::kUsage, "synthesize.sampler is {}, but {} predicts {}: use auto, {}", name,
                denoiser.info().name, velocity ? "velocity" : "epsilon",
                velocity ? "flow or flow_heun" : "dpmpp or another sampler for epsilon");
  }
  if (sampler.needs_variance() && !denoiser.predicts_variance()) {
    throw Error(ErrorCode::kUsage, "synthesize.sampler is {}, but {} predicts no variance: use dpmpp or ddim", name,
                denoiser.info().name);
  }
  return sampler;
}

std::string_view form_name(models::Guidance::Form form) {
  using Form = models::Guidance::Form;
  switch (form) {
    case Form::kMorphologyFirst:
      return "morphology_first";
    case Form::kGeneFirst:
      return "gene_first";
    case Form::kOrdinary:
      return "ordinary";
    case Form::kExpressionOnly:
      return "expression_only";
  }
  return "?";
}

std::optional<fs::path> bound(const pipeline::Bindings& bindings, std::string_view name) {
  const auto found = bindings.find(name);
  return found == bindings.end() ? std::nullopt : std::optional<fs::path>(found->second);
}

/// 1.4 instead of 1.39999998.
double decimal(float value) { return std::round(double{value} * 1e6) / 1e6; }

nlohmann::json describe_encoder(const io::FeatureSetInfo& set) {
  return {{"name", set.encoder}, {"sha256", set.encoder_sha256}};
}

Box<Latent> latent_box(TileCell cell, int size) { return {latent_origin(cell, size), {size, size}}; }

}  // namespace

SynthesizeStage::SynthesizeStage(SynthesizeOptions options, std::shared_ptr<const models::Denoiser> denoiser)
    : options_(std::move(options)), denoiser_(std::move(denoiser)), sampler_(resolve_sampler(options_, *denoiser_)) {
  options_.sampler = sampler_.name();
  const int model_px = denoiser_->latent_size() * kLatentFactor;
  if (options_.tile_px == 0) options_.tile_px = model_px;
  if (options_.tile_px != model_px) {
    throw Error(ErrorCode::kUsage,
                "tiles have {} px, but {} draws {} x {} latents, which is {} px: set the tile size to "
                "{}",
                options_.tile_px, denoiser_->info().name, denoiser_->latent_size(), denoiser_->latent_size(), model_px,
                model_px);
  }
}

std::vector<pipeline::Port> SynthesizeStage::inputs() const {
  std::vector<pipeline::Port> ports = {{.name = "features"}, {.name = "genes", .optional = true}};
  for (const Point<Latent> lattice : lattices()) {
    const auto [features, genes] = lattice_ports(lattice);
    ports.push_back({.name = features});
    ports.push_back({.name = genes, .optional = true});
  }
  return ports;
}

std::vector<Point<Latent>> SynthesizeStage::lattices() const {
  if (!options_.exact_conditions || options_.mode == SynthesisMode::kIndependent) return {};
  return window_lattices(WindowLayout({}, denoiser_->latent_size(), canvas_options().windows), sampler_.evaluations());
}

std::vector<pipeline::Port> SynthesizeStage::outputs() const { return {{.name = "latents", .is_folder = true}}; }

std::size_t SynthesizeStage::values_per_tile() const {
  const auto size = static_cast<std::size_t>(denoiser_->latent_size());
  return static_cast<std::size_t>(denoiser_->latent_channels()) * size * size;
}

std::size_t SynthesizeStage::rows_per_chunk() const {
  return stages::rows_per_chunk(options_.chunk_tiles, denoiser_->info().micro_batch);
}

nlohmann::json SynthesizeStage::identity() const {
  const models::Guidance& guidance = options_.guidance;
  nlohmann::json identity = {
      {"mode", to_string(options_.mode)},
      {"tile_px", options_.tile_px},
      {"seed", options_.seed},
      {"steps", options_.steps},
      {"sampler", options_.sampler},
      {"spacing", models::to_string(options_.spacing)},
      {"shift", options_.shift},
      {"guidance",
       {{"form", form_name(guidance.form)},
        {"morphology", guidance.morphology},
        {"gene", guidance.gene},
        {"morphology_interval", {guidance.morphology_interval.low, guidance.morphology_interval.high}},
        {"gene_interval", {guidance.gene_interval.low, guidance.gene_interval.high}}}},
      {"chunk_tiles", rows_per_chunk()},
      {"denoiser", {{"sha256", denoiser_->info().sha256}, {"micro_batch", denoiser_->info().micro_batch}}},
      {"numerics_class", options_.numerics_class}};
  if (options_.mode != SynthesisMode::kIndependent) identity["glass"] = options_.glass;
  if (options_.mode == SynthesisMode::kShifted) identity["blended_steps"] = options_.blended_steps;
  if (!lattices().empty()) identity["conditions"] = "exact";
  return identity;
}

nlohmann::json SynthesizeStage::made_by(const ConditionSource& conditions) const {
  nlohmann::json models = {{"stmdit", {{"name", denoiser_->info().name}, {"sha256", denoiser_->info().sha256}}},
                           {"encoder", describe_encoder(conditions.morphology_info())}};
  if (const auto genes = conditions.gene_info()) models["expression"] = describe_encoder(*genes);
  const models::Guidance& guidance = options_.guidance;
  nlohmann::json settings = {{"mode", to_string(options_.mode)},
                             {"seed", options_.seed},
                             {"steps", options_.steps},
                             {"sampler", options_.sampler},
                             {"spacing", models::to_string(options_.spacing)},
                             {"shift", options_.shift},
                             {"guidance_form", form_name(guidance.form)},
                             {"guidance_morphology", decimal(guidance.morphology)},
                             {"guidance_gene", decimal(guidance.gene)},
                             {"guidance_morphology_low", decimal(guidance.morphology_interval.low)},
                             {"guidance_morphology_high", decimal(guidance.morphology_interval.high)},
                             {"guidance_gene_low", decimal(guidance.gene_interval.low)},
                             {"guidance_gene_high", decimal(guidance.gene_interval.high)}};
  if (options_.mode == SynthesisMode::kShifted) settings["blended_steps"] = options_.blended_steps;
  if (!lattices().empty()) settings["conditions"] = "exact";
  return {{"settings", settings}, {"models", models}, {"conditions", conditions.settings()}};
}

void SynthesizeStage::preflight(const pipeline::Bindings& available_inputs) const {
  if (const auto features = bound(available_inputs, "features")) {
    const ConditionSource tiles(*features, bound(available_inputs, "genes"), denoiser_);
    const auto all_there = std::ranges::all_of(
        lattices(), [&](Point<Latent> lattice) { return available_inputs.contains(lattice_ports(lattice).first); });
    if (all_there) exact_conditions(available_inputs, tiles);
  }
}

std::shared_ptr<const ExactConditions> SynthesizeStage::exact_conditions(const pipeline::Bindings& inputs,
                                                                         const ConditionSource& tiles) const {
  const std::vector<Point<Latent>> all = lattices();
  if (all.empty()) return nullptr;
  return std::make_shared<const ExactConditions>(inputs, all, tiles.has_genes(), tiles.slide_sha256(), kLatentFactor,
                                                 denoiser_);
}

pipeline::Estimate SynthesizeStage::estimate(const pipeline::Bindings& available_inputs) const {
  const auto features = bound(available_inputs, "features");
  if (!features) return {};
  const std::vector<TileCell> cells = io::FeatureReader(*features).cells();
  const auto chunks_of = [&](std::size_t n) {
    return static_cast<std::int64_t>(TileChunks{n, rows_per_chunk()}.count());
  };
  const auto values = static_cast<std::int64_t>(cells.size() * values_per_tile());
  const auto stored = static_cast<std::int64_t>(sizeof(std::uint16_t)), part = static_cast<std::int64_t>(sizeof(float));
  if (options_.mode == SynthesisMode::kIndependent) {
    return {.chunks = chunks_of(cells.size()),
            .disk_bytes = values * (stored + part),
            .note = fmt::format("{} tiles, {} steps of {}", cells.size(), options_.steps, options_.sampler)};
  }
  const WindowLayout layout(cells, denoiser_->latent_size(), canvas_options().windows);
  std::int64_t chunks = 0, windows = 0;
  for (const models::Evaluation& evaluation : sampler_.evaluations()) {
    const std::size_t n = layout.windows(evaluation.step).size();
    windows += static_cast<std::int64_t>(n);
    chunks += chunks_of(n);
    if (!layout.blended(evaluation.step)) continue;
    chunks += chunks_of(cells.size());
  }
  return {.chunks = chunks,
          .disk_bytes = values * stored + parts_bytes(static_cast<std::int64_t>(cells.size())),
          .note = fmt::format("{} tiles, {} steps of {}, {} windows", cells.size(), options_.steps, options_.sampler,
                              windows)};
}

void SynthesizeStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                          pipeline::RunContext& ctx) const {
  const ConditionSource conditions(inputs.at("features"), bound(inputs, "genes"), denoiser_);
  const fs::path folder = ctx.shard() ? fs::path() : outputs.at("latents");
  if (options_.mode == SynthesisMode::kIndependent) {
    run_independent(conditions, folder, ctx);
  } else {
    run_canvas(inputs, conditions, folder, ctx);
  }
  if (!ctx.shard() && inputs.contains("genes") && denoiser_->gene_dim() == 0) {
    ctx.warn(fmt::format("{} takes no expression: the gene embeddings were not used", denoiser_->info().name));
  }
}

void SynthesizeStage::run_independent(const ConditionSource& conditions, const fs::path& folder,
                                      pipeline::RunContext& ctx) const {
  const std::vector<TileCell>& cells = conditions.cells();
  const TileChunks chunks{cells.size(), rows_per_chunk()};
  const std::size_t per_tile = values_per_tile();
  const auto draw = [&](TileCell cell, std::uint32_t index, std::span<float> out) {
    models::latent_noise(options_.seed, index, latent_box(cell, denoiser_->latent_size()), denoiser_->latent_channels(),
                         out);
  };
  const pipeline::ChunkIds own = ctx.share(chunks.count());
  ctx.set_total(chunks.rows(own), "tiles");

  pipeline::for_each_chunk<SynthesisChunk>(
      ctx, own,
      [&](std::uint64_t id) {
        const std::size_t n = chunks.size(id);
        SynthesisChunk chunk{n, std::vector<float>(n * per_tile), conditions.read(chunks.first(id), n)};
        for (std::size_t i = 0; i < n; ++i) {
          draw(cells[chunks.first(id) + i], kInitialDraw, std::span(chunk.x).subspan(i * per_tile, per_tile));
        }
        return chunk;
      },
      [&](std::uint64_t id, SynthesisChunk& chunk) {
        const auto values = [&](bool wanted) { return std::vector<float>(wanted ? chunk.x.size() : 0); };
        std::vector<float> prediction = values(true);
        std::vector<float> history = values(sampler_.history_planes() >= 1);
        std::vector<float> history2 = values(sampler_.history_planes() >= 2);
        std::vector<float> variance = values(sampler_.needs_variance());
        std::vector<float> noise = values(sampler_.needs_variance());
        const auto prepared = denoiser_->prepare(static_cast<int>(chunk.n), chunk.conditions.view());
        const auto evaluations = sampler_.evaluations();
        for (int e = 0; e < static_cast<int>(evaluations.size()); ++e) {
          const models::Evaluation& evaluation = evaluations[static_cast<std::size_t>(e)];
          denoiser_->predict_prepared(chunk.x, evaluation.t, *prepared, options_.guidance, prediction, variance);
          for (std::size_t i = 0; evaluation.draw != 0 && i < chunk.n; ++i) {
            draw(cells[chunks.first(id) + i], evaluation.draw, std::span(noise).subspan(i * per_tile, per_tile));
          }
          sampler_.update(e, {.x = chunk.x,
                              .prediction = prediction,
                              .history = history,
                              .history2 = history2,
                              .noise = noise,
                              .variance = variance});
        }
        for (std::size_t k = 0; k < chunk.x.size(); ++k) {
          if (std::abs(chunk.x[k]) <= kLargestHalf) continue;  // also false for NaN
          const TileCell cell = cells[chunks.first(id) + k / per_tile];
          throw Error(ErrorCode::kModel,
                      "tile ({}, {}): {} gave {}, which no latent can be; lower the guidance or try "
                      "dtype f32",
                      cell.column, cell.row, denoiser_->info().name, chunk.x[k]);
        }
      },
      [](std::uint64_t, SynthesisChunk& chunk) {
        const auto bytes = std::as_bytes(std::span(chunk.x));
        return std::vector<std::byte>(bytes.begin(), bytes.end());
      },
      [&](std::uint64_t id) { return static_cast<std::int64_t>(chunks.size(id)); });

  if (ctx.shard()) return;
  std::vector<float> part;
  std::uint64_t part_id = chunks.count();
  const auto read = [&](std::size_t tile, std::span<float> out) {
    const std::uint64_t id = tile / rows_per_chunk();
    if (id != part_id) {
      const std::optional<std::vector<std::byte>> bytes = ctx.chunks().read(id);
      part.resize(chunks.size(id) * per_tile);
      if (!bytes || bytes->size() != part.size() * sizeof(float)) {
        throw Error(ErrorCode::kOutput, "{}: the committed part {} is gone or damaged; run the command again",
                    ctx.chunks().folder().string(), id);
      }
      std::memcpy(part.data(), bytes->data(), bytes->size());
      part_id = id;
    }
    std::copy_n(part.begin() + static_cast<std::ptrdiff_t>((tile - chunks.first(id)) * per_tile), per_tile,
                out.begin());
  };
  write(folder, conditions, read, ctx);
}

void SynthesizeStage::run_canvas(const pipeline::Bindings& inputs, const ConditionSource& conditions,
                                 const fs::path& folder, pipeline::RunContext& ctx) const {
  const std::vector<TileCell>& cells = conditions.cells();
  PieceResults results(cells, rows_per_chunk(), values_per_tile());
  const std::size_t pieces = results.pieces().size();
  const std::vector<int> shard_of = assign_pieces(results.pieces(), ctx.shard() ? ctx.shard()->count : 1);

  // The pieces that are this run's and that no shard has computed.
  std::vector<std::size_t> own, missing, rows;
  for (std::size_t piece = 0; piece < pieces; ++piece) {
    if (ctx.shard() && shard_of[piece] != ctx.shard()->index - 1) continue;
    own.push_back(piece);
    if (results.done(piece, ctx.chunks())) continue;
    missing.push_back(piece);
    rows.insert(rows.end(), results.pieces()[piece].begin(), results.pieces()[piece].end());
  }
  std::ranges::sort(rows);
  std::vector<std::size_t> index_of(cells.size());  // of a tile among `rows`
  for (std::size_t i = 0; i < rows.size(); ++i) index_of[rows[i]] = i;

  ConditionSource part(inputs.at("features"), bound(inputs, "genes"), denoiser_);
  CanvasOptions options = canvas_options();
  options.exact = exact_conditions(inputs, conditions);
  if (rows.size() != cells.size()) {
    part.keep(rows);
    // Parts of other pieces are not taken for these.
    constexpr int kIdsOfOneRun = 41;
    const std::uint64_t name = checksum64(std::as_bytes(std::span(part.cells()))) >> kIdsOfOneRun << kIdsOfOneRun;
    options.first_part = std::max(name, std::uint64_t{1} << kIdsOfOneRun);
  }
  CanvasSynthesis synthesis(*denoiser_, sampler_, part, std::move(options));
  const auto computed = [&](std::size_t tile, std::span<float> out) { synthesis.read(index_of[tile], out); };
  ctx.set_total(synthesis.window_evaluations(), "windows");
  if (!rows.empty()) synthesis.run(ctx);
  if (ctx.shard()) {
    for (const std::size_t piece : missing) results.commit(piece, ctx.chunks(), computed);
    for (const std::size_t piece : own) results.add_to_shard(piece, ctx);
    return;
  }
  ctx.report("window_evaluations", window_evaluations(cells));
  std::vector<bool> is_missing(pieces);
  for (const std::size_t piece : missing) is_missing[piece] = true;
  const auto read = [&](std::size_t tile, std::span<float> out) {
    if (is_missing[results.piece_of(tile)]) {
      computed(tile, out);
    } else {
      results.read(tile, ctx.chunks(), out);
    }
  };
  write(folder, conditions, read, ctx);
}

std::int64_t SynthesizeStage::parts_bytes(std::int64_t tiles) const {
  const std::int64_t state = tiles * static_cast<std::int64_t>(values_per_tile() * sizeof(float));
  if (options_.mode == SynthesisMode::kIndependent) return state;
  // The states after two steps, and of overlapping windows the predictions.
  const bool blended = options_.mode == SynthesisMode::kOverlap || options_.blended_steps > 0;
  const std::int64_t parts = state * (2 * (1 + sampler_.history_planes()) + (blended ? 4 : 0));
  return canvas_bytes(tiles) > 0 ? parts : parts + 2 * state * (1 + sampler_.history_planes());
}

std::int64_t SynthesizeStage::canvas_bytes(std::int64_t tiles) const {
  if (options_.mode == SynthesisMode::kIndependent) return 0;
  const std::size_t bytes = TissueCanvas::bytes(static_cast<std::size_t>(tiles), denoiser_->latent_size(),
                                                denoiser_->latent_channels(), 1 + sampler_.history_planes());
  return bytes <= static_cast<std::size_t>(options_.canvas_bytes) ? static_cast<std::int64_t>(bytes) : 0;
}

std::int64_t SynthesizeStage::window_evaluations(const std::vector<TileCell>& cells) const {
  if (options_.mode == SynthesisMode::kIndependent) {
    return static_cast<std::int64_t>(cells.size() * sampler_.evaluations().size());
  }
  const WindowLayout layout(cells, denoiser_->latent_size(), canvas_options().windows);
  std::int64_t windows = 0;
  for (const models::Evaluation& evaluation : sampler_.evaluations()) {
    windows += static_cast<std::int64_t>(layout.windows(evaluation.step).size());
  }
  return windows;
}

pipeline::Estimate SynthesizeStage::estimate_shard(const pipeline::Bindings& available_inputs,
                                                   pipeline::Shard shard) const {
  const auto features = bound(available_inputs, "features");
  if (!features || options_.mode == SynthesisMode::kIndependent) return Stage::estimate_shard(available_inputs, shard);
  const std::vector<TileCell> cells = io::FeatureReader(*features).cells();
  const auto pieces = tissue_pieces(cells);
  const std::vector<int> shard_of = assign_pieces(pieces, shard.count);
  std::size_t tiles = 0, number = 0, largest = 0;
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    largest = std::max(largest, pieces[piece].size());
    if (shard_of[piece] != shard.index - 1) continue;
    tiles += pieces[piece].size();
    ++number;
  }
  pipeline::Estimate whole = estimate(available_inputs);
  const double share = cells.empty() ? 0 : static_cast<double>(tiles) / static_cast<double>(cells.size());
  const auto part_of = [&](std::int64_t all) { return static_cast<std::int64_t>(static_cast<double>(all) * share); };
  if (whole.chunks) whole.chunks = part_of(*whole.chunks);
  if (whole.disk_bytes) whole.disk_bytes = part_of(*whole.disk_bytes);
  if (whole.seconds) *whole.seconds *= share;
  whole.note = fmt::format("shard {}: {} of {} pieces of tissue, {} of {} tiles; the largest piece has {}",
                           pipeline::to_string(shard), number, pieces.size(), tiles, cells.size(), largest);
  return whole;
}

CanvasOptions SynthesizeStage::canvas_options() const {
  return {.windows = {.mode = options_.mode,
                      .seed = options_.seed,
                      .steps = options_.steps,
                      .blended_steps = options_.blended_steps,
                      .grain = kPatch},
          .seed = options_.seed,
          .guidance = options_.guidance,
          .glass = options_.glass,
          .chunk = rows_per_chunk(),
          .memory_bytes = static_cast<std::size_t>(options_.canvas_bytes)};
}

void SynthesizeStage::write(const fs::path& folder, const ConditionSource& conditions,
                            const std::function<void(std::size_t, std::span<float>)>& read,
                            pipeline::RunContext& ctx) const {
  const std::vector<TileCell>& cells = conditions.cells();
  const TileChunks blocks{cells.size(), 256};
  io::LatentWriter writer(folder,
                          {.channels = denoiser_->latent_channels(),
                           .size = denoiser_->latent_size(),
                           .tile_px = options_.tile_px,
                           .seed = options_.seed,
                           .slide_sha256 = conditions.slide_sha256(),
                           .made_by = made_by(conditions)},
                          cells);
  std::vector<float> values(values_per_tile());
  std::int64_t with_expression = 0, with_morphology = 0;
  for (std::uint64_t id = 0; id < blocks.count(); ++id) {
    ctx.throw_if_stopped();
    std::vector<std::uint16_t> halves;
    for (std::size_t i = 0; i < blocks.size(id); ++i) {
      read(blocks.first(id) + i, values);
      for (const float value : values) halves.push_back(io::float_to_half(value));
    }
    writer.append(halves);
    const ConditionRows rows = conditions.read(blocks.first(id), blocks.size(id));
    with_morphology += std::ranges::count(rows.has_morphology, std::uint8_t{1});
    with_expression += std::ranges::count(rows.has_gene, std::uint8_t{1});
  }
  writer.finish();

  ctx.report("tiles", cells.size());
  ctx.report("tiles_with_morphology", with_morphology);
  ctx.report("tiles_with_expression", with_expression);
  const std::int64_t without = static_cast<std::int64_t>(cells.size()) - with_morphology;
  if (without > 0 && with_expression == 0) {
    ctx.warn(fmt::format("{} of {} tiles were drawn without any condition", without, cells.size()));
  }
}

}  // namespace vtissue::stages
