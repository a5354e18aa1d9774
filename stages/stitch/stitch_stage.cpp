#include "stages/stitch/stitch_stage.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "io/anndata.h"
#include "io/latent_store.h"
#include "io/tile_store.h"
#include "pipeline/run_context.h"
#include "stages/embed/slide_of_tiles.h"
#include "stages/stitch/block_plan.h"
#include "stages/stitch/latent_decoder.h"
#include "stages/stitch/overview.h"
#include "stages/stitch/provenance.h"
#include "stages/stitch/slide_cards.h"
#include "stages/stitch/stitch_names.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {
namespace {

/// A committed part: the block's share of the overview, then encode_block()'s bytes.
std::vector<std::byte> join_part(std::span<const std::uint8_t> share, std::span<const std::byte> block) {
  std::vector<std::byte> part(share.size() + block.size());
  std::memcpy(part.data(), share.data(), share.size());
  std::ranges::copy(block, part.begin() + static_cast<std::ptrdiff_t>(share.size()));
  return part;
}

std::vector<std::byte> read_part(const pipeline::ChunkStore& chunks, std::uint64_t id, std::size_t share_bytes) {
  std::optional<std::vector<std::byte>> part = chunks.read(id);
  if (!part || part->size() < share_bytes) {
    throw Error(ErrorCode::kOutput, "{}: the committed part {} is gone or damaged; run the command again",
                chunks.folder().string(), id);
  }
  return *std::move(part);
}

/// What a virtual slide says of the expression: its digest, and how it came about as the table itself states it.
nlohmann::json describe_expression(const std::filesystem::path& path, const std::string& sha256) {
  nlohmann::json described = {{"expression_sha256", sha256}};
  const io::H5adRows table(path);
  const std::map<std::string, std::string>& stated = table.table().strings;
  const auto take = [&](const char* key, nlohmann::json::json_pointer place) {
    if (const auto found = stated.find(key); found != stated.end()) described[place] = found->second;
  };
  using Place = nlohmann::json::json_pointer;
  if (const auto settings = stated.find("settings"); settings != stated.end()) {
    const nlohmann::json express = nlohmann::json::parse(settings->second, nullptr, false);
    if (!express.is_object()) {
      throw Error(ErrorCode::kBadInput, "{}: uns/settings is no JSON object; run express again", path.string());
    }
    described["configuration"]["express"] = express;
  }
  take("source", Place("/expression/source"));
  take("mapping", Place("/expression/mapping"));
  take("predictor", Place("/models/predictor/name"));
  take("predictor_sha256", Place("/models/predictor/sha256"));
  take("encoder", Place("/models/predictor_encoder/name"));
  take("encoder_sha256", Place("/models/predictor_encoder/sha256"));
  return described;
}

/// What the ood stage found.
nlohmann::json describe_ood(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  nlohmann::json report = nlohmann::json::parse(file, nullptr, false);
  if (!report.is_object()) {
    throw Error(ErrorCode::kBadInput, "{}: is no report of the ood stage; run it again", path.string());
  }
  return {{"out_of_distribution", std::move(report)}};
}

}  // namespace

StitchStage::StitchStage(StitchOptions options, std::shared_ptr<const models::Autoencoder> autoencoder)
    : options_(std::move(options)), autoencoder_(std::move(autoencoder)) {
  require_no_paths(options_.provenance);
}

std::vector<pipeline::Port> StitchStage::inputs() const {
  return {{.name = "latents"},
          {.name = "tiles"},
          {.name = "expression", .optional = true},
          {.name = "ood", .optional = true}};
}

std::vector<pipeline::Port> StitchStage::outputs() const { return {{.name = "virtual"}}; }

nlohmann::json StitchStage::identity() const {
  const models::DecodeWindow window = autoencoder_->decode_window();
  return {{"profile", name_of(options_.profile)},
          {"codec", name_of(options_.codec)},
          {"quality", options_.quality},
          {"subsampling", name_of(options_.sampling)},
          {"icc_profile", checksum64(options_.icc_profile)},
          {"background", options_.background},
          {"generator", options_.generator},
          {"provenance", options_.provenance},
          {"block_px", kBlockPx},
          {"decode_window", {window.inner, window.halo, window.ramp}},
          {"autoencoder", {{"sha256", autoencoder_->info().sha256}, {"micro_batch", autoencoder_->info().micro_batch}}},
          {"numerics_class", options_.numerics_class}};
}

void StitchStage::preflight(const pipeline::Bindings& available_inputs) const {
  if (!available_inputs.contains("latents") || !available_inputs.contains("tiles")) return;
  const auto &folder = available_inputs.at("latents"), &tiles = available_inputs.at("tiles");
  require_decodable(folder, io::LatentReader(folder), tiles, io::read_tiles(tiles), *autoencoder_);
}

io::PyramidOptions StitchStage::pyramid_options(const io::TileSet& tiles, const io::LatentStoreInfo& latents,
                                                const nlohmann::json& expression) const {
  const std::uint64_t seed = latents.seed;
  nlohmann::json provenance = options_.provenance;
  // Said by what made them, not by the configuration of this run, which may be another.
  nlohmann::json& configuration = provenance["configuration"];
  configuration["tile"] = nlohmann::json::parse(tiles.settings);
  if (latents.made_by.contains("conditions")) configuration.update(latents.made_by["conditions"]);
  if (latents.made_by.contains("settings")) configuration["synthesize"] = latents.made_by["settings"];
  if (latents.made_by.contains("models")) provenance["models"].update(latents.made_by["models"]);
  for (const char* key : {"perturbation", "drawn_again"}) {
    if (latents.made_by.contains(key)) provenance[key] = latents.made_by[key];
  }
  if (!expression.empty()) provenance.merge_patch(expression);
  // What the picture was drawn from: a slide without one is nobody's tissue, not even in its outlines.
  const nlohmann::json settings = latents.made_by.value("settings", nlohmann::json::object());
  provenance["drawn_from"] = {
      {"slide", !tiles.slide_sha256.empty()},
      {"morphology", !tiles.slide_sha256.empty() && settings.value("guidance_form", "") != "expression_only"},
      {"expression",
       latents.made_by.value("models", nlohmann::json::object()).contains("expression") &&
           (settings.value("guidance_gene", 0.0) != 0 || settings.value("guidance_form", "") == "ordinary")}};
  provenance["synthetic"] = true;
  provenance["seed"] = seed;
  provenance["mpp"] = tiles.target_mpp;
  provenance["tile_px"] = tiles.tile_px;
  provenance["source_slide_sha256"] = tiles.slide_sha256;
  provenance["decoder_sha256"] = autoencoder_->info().sha256;
  if (!options_.numerics_class.empty()) provenance["numerics_class"] = options_.numerics_class;
  return {.size = tiles.target_size,
          .mpp = tiles.target_mpp,
          .profile = options_.profile,
          .codec = options_.codec,
          .quality = options_.quality,
          .sampling = options_.sampling,
          .block_px = kBlockPx,
          .software = options_.generator,
          .description = fmt::format("Synthetic = 1|Seed = {}", seed),
          .provenance_json = provenance.dump(),
          .icc_profile = options_.icc_profile};
}

pipeline::Estimate StitchStage::estimate(const pipeline::Bindings& available_inputs) const {
  const auto bound = available_inputs.find("tiles");
  if (bound == available_inputs.end()) return {};
  const io::TileSet tiles = io::read_tiles(bound->second);
  const io::PyramidLayout layout = io::layout_of(pyramid_options(tiles, {}, {}));
  return {.chunks = std::int64_t{layout.blocks_x} * layout.blocks_y,
          .note = fmt::format("{} x {} px at {} µm/px, {} levels", tiles.target_size.width, tiles.target_size.height,
                              tiles.target_mpp, layout.levels.size())};
}

void StitchStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                      pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const io::LatentReader latents(inputs.at("latents"));
  require_decodable(inputs.at("latents"), latents, inputs.at("tiles"), tiles, *autoencoder_);
  const io::LatentStoreInfo& info = latents.info();
  const auto expression = inputs.find("expression");
  nlohmann::json described = nlohmann::json::object();
  if (expression != inputs.end()) {
    described = describe_expression(expression->second, ctx.input_sha256("expression", expression->second));
  }
  if (const auto ood = inputs.find("ood"); ood != inputs.end()) described.update(describe_ood(ood->second));
  const io::PyramidOptions pyramid = pyramid_options(tiles, info, described);
  const io::PyramidLayout layout = io::layout_of(pyramid);
  const io::LevelDecorator decorate = overview_mark(layout);
  const BlockPlan plan(layout, kBlockPx);
  const LatentDecoder decoder(tiles, latents, *autoencoder_, options_.background);
  Overview overview(tiles.target_size, kBlockPx);
  const pipeline::ChunkIds own = ctx.share(plan.count());
  ctx.set_total(static_cast<std::int64_t>(own.count), "blocks");

  using Windows = LatentDecoder::Windows;
  pipeline::for_each_chunk<Windows>(
      ctx, own,
      [&](std::uint64_t id) {
        return decoder.gather({plan.origin(id), {kBlockPx, kBlockPx}});
      },
      [&](std::uint64_t, Windows& windows) { decoder.decode(windows); },
      [&](std::uint64_t id, Windows& windows) {
        std::vector<std::uint8_t> block(static_cast<std::size_t>(kBlockPx) * kBlockPx * 3);
        const auto [red, green, blue] = options_.background;
        fill_glass(plan.origin(id), {kBlockPx, kBlockPx}, {red, green, blue}, block);
        decoder.compose(windows, block);
        return join_part(overview.shrink(block),
                         io::encode_block(pyramid, plan.column(id), plan.row(id), block, decorate));
      },
      [](std::uint64_t) { return 1; });

  if (ctx.shard()) return;
  const std::size_t share_bytes = overview.share_bytes();
  for (std::uint64_t id = 0; id < plan.count(); ++id) {
    ctx.throw_if_stopped();
    const std::vector<std::byte> part = read_part(ctx.chunks(), id, share_bytes);
    std::vector<std::uint8_t> share(share_bytes);
    std::memcpy(share.data(), part.data(), share_bytes);
    overview.place(plan.column(id), plan.row(id), share);
  }
  const CardText card{options_.generator, info.seed, tiles.target_mpp};
  io::write_pyramid(
      outputs.at("virtual"), pyramid,
      [&](int column, int row) {
        ctx.throw_if_stopped();
        std::vector<std::byte> part = read_part(ctx.chunks(), plan.id(column, row), share_bytes);
        part.erase(part.begin(), part.begin() + static_cast<std::ptrdiff_t>(share_bytes));
        return part;
      },
      draw_label(card), draw_macro(card, overview.picture()), decorate);

  ctx.report("tiles", tiles.cells.size());
  ctx.report("width_px", tiles.target_size.width);
  ctx.report("height_px", tiles.target_size.height);
  ctx.report("levels", layout.levels.size());
}

}  // namespace vtissue::stages
