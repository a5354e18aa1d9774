#include "stages/express/express_stage.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "io/feature_store.h"
#include "io/slide_reader.h"
#include "stages/embed/feature_chunks.h"
#include "stages/express/predicted_expression.h"

namespace vtissue::stages {
namespace {

constexpr int kCheckPx = 1024;  // longest side of the picture on which spots and tissue are compared

std::string digest_of(const std::vector<std::string>& genes) {
  Sha256 hash;
  for (const std::string& gene : genes) hash.update(gene + "\n");
  return hash.finish();
}

}  // namespace

ExpressStage::ExpressStage(ExpressOptions options, std::vector<std::string> panel,
                           std::shared_ptr<const models::ExpressionPredictor> predictor)
    : options_(std::move(options)), panel_(std::move(panel)), predictor_(std::move(predictor)) {}

std::vector<pipeline::Port> ExpressStage::inputs() const {
  return {{.name = "tiles"},
          {.name = "slide", .optional = true},
          {.name = "features", .optional = true},
          {.name = "visium", .optional = true},
          {.name = "h5ad", .optional = true},
          {.name = "st_counts", .optional = true},
          {.name = "st_spots", .optional = true}};
}

std::vector<pipeline::Port> ExpressStage::outputs() const { return {{.name = "expression"}}; }

nlohmann::json ExpressStage::settings() const {
  if (predictor_ != nullptr) return nlohmann::json::object();
  nlohmann::json settings = {{"mapping", io::to_string(options_.measured.mapping)},
                             {"max_distance_um", nullptr},
                             {"min_matched_genes", options_.measured.min_matched_genes},
                             {"bin_um", options_.measured.bin_um},
                             {"on_misalignment", options_.measured.refuse_misaligned ? "fail" : "warn"}};
  if (options_.measured.max_distance_um) settings["max_distance_um"] = *options_.measured.max_distance_um;
  return settings;
}

nlohmann::json ExpressStage::identity() const {
  nlohmann::json identity = settings();
  identity["panel_sha256"] = digest_of(panel_);
  identity["predictor"] = nullptr;
  if (predictor_ != nullptr) {
    identity["predictor"] = {{"sha256", predictor_->info().sha256}, {"micro_batch", predictor_->info().micro_batch}};
    identity["chunk_tiles"] = rows_per_chunk();
    identity["numerics_class"] = options_.numerics_class;
  }
  return identity;
}

std::size_t ExpressStage::rows_per_chunk() const {
  return stages::rows_per_chunk(options_.chunk_tiles, predictor_ == nullptr ? 1 : predictor_->info().micro_batch);
}

const models::ExpressionPredictor& ExpressStage::require_predictor() const {
  if (predictor_ == nullptr) {
    throw Error(ErrorCode::kUsage,
                "no measured expression is given and no predictor is configured; give a Visium folder, an "
                "h5ad or legacy ST tables, or a predictor's folder");
  }
  return *predictor_;
}

void ExpressStage::preflight(const pipeline::Bindings& available_inputs) const {
  const SpotFiles files = SpotFiles::of(available_inputs);
  const auto tiles = available_inputs.find("tiles");
  if (files.any()) {
    files.require_one();
    const auto read = [&](double pixel_aspect) {
      return read_measurement(files, panel_, options_.measured, pixel_aspect);
    };
    if (tiles == available_inputs.end()) {
      const auto slide = available_inputs.find("slide");
      if (slide == available_inputs.end()) {
        read(1);
        return;
      }
      const std::shared_ptr<io::SlideReader> reader = io::SlideReader::open(slide->second, {.mpp = options_.slide_mpp});
      const io::SlideInfo& info = reader->info();
      const Measurement measurement = read(info.pixel_aspect);
      const std::vector<double> totals = io::spot_totals(measurement.spots);
      const auto size = info.levels.front().size;
      const io::SlideReader::Picture picture = reader->thumbnail(kCheckPx);
      check_spots(measurement.spots, totals, {size.width, size.height},
                  info.mpp ? std::optional<double>(info.mpp->x) : std::nullopt,
                  io::tissue_map(picture.rgb, picture.size, picture.downsample), files, options_.measured);
      return;
    }
    const io::TileSet set = io::read_tiles(tiles->second);
    const Measurement measurement = read(set.pixel_aspect);
    const std::vector<double> totals = io::spot_totals(measurement.spots);
    check_spots(measurement.spots, totals, set.slide_size, set.source_mpp, tissue_of(set), files, options_.measured);
    return;
  }
  const models::ExpressionPredictor& predictor = require_predictor();
  const auto features = available_inputs.find("features");
  if (tiles == available_inputs.end() || features == available_inputs.end()) return;
  predictor_set(features->second, io::FeatureReader(features->second), io::read_tiles(tiles->second), predictor);
}

std::optional<std::vector<std::filesystem::path>> ExpressStage::files_read(std::string_view port,
                                                                           const std::filesystem::path& folder) const {
  if (port != "visium") return std::nullopt;
  return io::visium_files(folder, options_.measured.bin_um);
}

pipeline::Estimate ExpressStage::estimate(const pipeline::Bindings& available_inputs) const {
  const auto tiles = available_inputs.find("tiles");
  if (tiles == available_inputs.end()) return {};
  const std::size_t n = io::read_tiles(tiles->second).cells.size();
  const bool measured = SpotFiles::of(available_inputs).any();
  const std::size_t genes = measured || predictor_ == nullptr ? panel_.size() : predictor_->genes().size();
  const auto values = static_cast<std::int64_t>(n * genes);
  const std::size_t in_memory = measured ? 0 : std::min(n, 2 * rows_per_chunk()) * genes;
  return {.chunks = measured ? 1 : static_cast<std::int64_t>(TileChunks{n, rows_per_chunk()}.count()),
          .memory_bytes = static_cast<std::int64_t>(in_memory * sizeof(float)),
          .disk_bytes = values * 4 * (measured ? 1 : 2),
          .note = fmt::format("{} genes of {} tiles, {}", genes, n, measured ? "measured" : "predicted")};
}

void ExpressStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                       pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const SpotFiles files = SpotFiles::of(inputs);
  TileExpression expression;
  if (files.any()) {
    ctx.set_total(static_cast<std::int64_t>(tiles.cells.size()), "tiles");
    files.require_one();
    expression = measured_expression(files, tiles, panel_, options_.measured, ctx);
    ctx.advance(static_cast<std::int64_t>(tiles.cells.size()));
  } else {
    const models::ExpressionPredictor& predictor = require_predictor();
    const auto features = inputs.find("features");
    if (features == inputs.end()) {
      throw Error(ErrorCode::kUsage, "expression is to be predicted, but no features.h5 is given");
    }
    expression = predicted_expression(features->second, tiles, predictor, rows_per_chunk(), ctx);
    if (ctx.shard()) return;
  }
  ctx.report("tiles", tiles.cells.size());
  ctx.report("source", expression.source);
  expression.provenance["settings"] = settings().dump();
  const std::size_t with_expression = write_expression(outputs.at("expression"), expression, tiles, ctx);
  if (expression.record) expression.record(outputs.at("expression"));
  ctx.report("tiles_with_expression", with_expression);
  if (with_expression == 0) {
    throw Error(ErrorCode::kBadInput, "{}: no tile has an embedding to predict from", inputs.at("features").string());
  }
}

}  // namespace vtissue::stages
