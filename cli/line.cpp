#include "cli/line.h"

#include "cli/app.h"
#include "cli/model_pairing.h"
#include "core/error.h"
#include "stages/embed/embed_config.h"
#include "stages/embed/embed_stage.h"
#include "stages/encode/encode_config.h"
#include "stages/encode/encode_stage.h"
#include "stages/evaluate/evaluate_config.h"
#include "stages/evaluate/evaluate_stage.h"
#include "stages/express/express_config.h"
#include "stages/express/express_stage.h"
#include "stages/report/report_config.h"
#include "stages/report/report_stage.h"
#include "stages/stitch/latent_decoder.h"
#include "stages/stitch/provenance.h"
#include "stages/stitch/stitch_config.h"
#include "stages/stitch/stitch_stage.h"
#include "stages/synthesize/synthesize_config.h"
#include "stages/synthesize/synthesize_stage.h"
#include "stages/tile/tile_config.h"
#include "stages/tile/tile_stage.h"

namespace vtissue::cli {
namespace fs = std::filesystem;
using pipeline::Config;
using pipeline::Graph;
using pipeline::NodeId;
using pipeline::OutputRef;
using pipeline::Stage;

namespace {

std::string generator() { return "vtissue " + std::string(version()); }

nlohmann::json describe_for_report(const Config& config, const std::vector<pipeline::StageNotes>& notes) {
  nlohmann::json warnings = nlohmann::json::array();
  nlohmann::json stages = nlohmann::json::array();
  for (const pipeline::StageNotes& stage : notes) {
    for (const std::string& warning : stage.warnings) warnings.push_back(stage.name + ": " + warning);
    stages.push_back({{"name", stage.name}, {"status", "done"}, {"figures", stage.reported}});
  }
  return {{"warnings", warnings}, {"stages", stages}, {"configuration", stages::public_configuration(config)}};
}

/// What the stage itself was set to. Of the stages before it the stores say themselves what made them, so that they
/// cannot be claimed to be what they are not.
nlohmann::json configuration_of_stitch(const Config& config) {
  return {{"stitch", stages::public_configuration(config).at("stitch")}};
}

}  // namespace

void ExpressionSource::check() const {
  if (st_counts.empty() != st_spots.empty()) {
    throw Error(ErrorCode::kUsage, "--st-counts and --st-spots belong together");
  }
  if (!visium.empty() + !h5ad.empty() + !st_counts.empty() > 1) {
    throw Error(ErrorCode::kUsage, "more than one source of expression; keep one of --visium, --h5ad, --st-counts");
  }
}

std::shared_ptr<const Stage> make_tile_stage(const Config& config) {
  return std::make_shared<stages::TileStage>(stages::tile_options(config));
}

std::shared_ptr<const Stage> make_embed_stage(const Config& config, Engines& engines, bool for_predictor) {
  stages::EmbedOptions options = stages::embed_options(config);
  options.numerics_class = engines.numerics_class();
  if (!for_predictor) return std::make_shared<stages::EmbedStage>(options, engines.encoder());
  options.predictor_subtiles = engines.predictor()->uses_subtiles();
  return std::make_shared<stages::EmbedStage>(options, engines.encoder(), engines.predictor_encoder());
}

std::shared_ptr<const Stage> make_express_stage(const Config& config, Engines& engines,
                                                const ExpressionSource& source) {
  stages::ExpressOptions options = stages::express_options(config);
  options.slide_mpp = config.get_optional<double>("tile.slide_mpp");
  options.numerics_class = engines.numerics_class();
  if (source.measured()) {
    return std::make_shared<stages::ExpressStage>(options, engines.gene_encoder()->genes(), nullptr);
  }
  return std::make_shared<stages::ExpressStage>(options, std::vector<std::string>(), engines.predictor());
}

std::shared_ptr<const Stage> make_encode_stage(const Config& config, Engines& engines) {
  stages::EncodeOptions options = stages::encode_options(config);
  options.tokens = engines.denoiser()->gene_vectors() > 1;
  options.numerics_class = engines.numerics_class();
  return std::make_shared<stages::EncodeStage>(options, engines.gene_encoder());
}

std::shared_ptr<const Stage> make_synthesize_stage(const Config& config, Engines& engines) {
  stages::SynthesizeOptions options = stages::synthesize_options(config);
  options.tile_px = config.get<int>("tile.size_px");
  options.numerics_class = engines.numerics_class();
  if (options.mode != stages::SynthesisMode::kIndependent) {
    options.glass = stages::latents_of_colour(*engines.autoencoder(), stages::stitch_options(config).background);
  }
  return std::make_shared<stages::SynthesizeStage>(options, engines.denoiser());
}

std::shared_ptr<const Stage> make_stitch_stage(const Config& config, Engines& engines) {
  stages::StitchOptions options = stages::stitch_options(config);
  options.generator = generator();
  options.numerics_class = engines.numerics_class();
  const auto autoencoder = engines.autoencoder();
  options.provenance = {
      {"software", generator()},
      {"configuration", configuration_of_stitch(config)},
      {"models", {{"autoencoder", {{"name", autoencoder->info().name}, {"sha256", autoencoder->info().sha256}}}}},
      {"numerics_class", engines.numerics_class()}};
  if (nlohmann::json licences = engines.licences(); !licences.empty()) {
    options.provenance["licences"] = std::move(licences);
  }
  return std::make_shared<stages::StitchStage>(options, autoencoder);
}

std::shared_ptr<const Stage> make_evaluate_stage(const Config& config, Engines& engines) {
  stages::EvaluateOptions options = stages::evaluate_options(config);
  options.numerics_class = engines.numerics_class();
  options.background = stages::stitch_options(config).background;
  const auto autoencoder = config.has("models.autoencoder") ? engines.autoencoder() : nullptr;
  return std::make_shared<stages::EvaluateStage>(options, engines.encoder(), engines.device(), autoencoder);
}

Graph make_line(const Config& config, const LineInputs& inputs, Engines& engines) {
  const fs::path& out = inputs.out;
  const bool predicted = !inputs.expression.measured();
  require_models_fit(config, engines, predicted);
  Graph graph;

  pipeline::Node tile_node{.stage = make_tile_stage(config),
                           .inputs = {{"slide", inputs.slide}},
                           .outputs = {{"tiles", out / output_names::kTiles}}};
  const auto bind_tissue = [&](const char* port, const fs::path& given, const char* key) {
    const auto configured = config.get_optional<std::string>(key);
    if (!given.empty() || configured) tile_node.inputs[port] = given.empty() ? fs::path(*configured) : given;
  };
  bind_tissue("annotations", inputs.annotations, "tissue.annotations");
  bind_tissue("tissue_mask", inputs.tissue_mask, "tissue.mask");
  const NodeId tile = graph.add(std::move(tile_node));
  const NodeId embed = graph.add({.stage = make_embed_stage(config, engines, predicted),
                                  .inputs = {{"slide", inputs.slide}, {"tiles", OutputRef{tile, "tiles"}}},
                                  .outputs = {{"features", out / output_names::kFeatures}}});

  pipeline::Node express_node{.stage = make_express_stage(config, engines, inputs.expression),
                              .inputs = {{"slide", inputs.slide}, {"tiles", OutputRef{tile, "tiles"}}},
                              .outputs = {{"expression", out / output_names::kExpression}}};
  if (predicted) express_node.inputs["features"] = OutputRef{embed, "features"};
  if (!inputs.expression.visium.empty()) express_node.inputs["visium"] = inputs.expression.visium;
  if (!inputs.expression.h5ad.empty()) express_node.inputs["h5ad"] = inputs.expression.h5ad;
  if (!inputs.expression.st_counts.empty()) {
    express_node.inputs["st_counts"] = inputs.expression.st_counts;
    express_node.inputs["st_spots"] = inputs.expression.st_spots;
  }
  const NodeId express = graph.add(std::move(express_node));

  const NodeId encode = graph.add({.stage = make_encode_stage(config, engines),
                                   .inputs = {{"expression", OutputRef{express, "expression"}}},
                                   .outputs = {{"genes", out / output_names::kGenes}}});
  const NodeId synthesize =
      graph.add({.stage = make_synthesize_stage(config, engines),
                 .inputs = {{"features", OutputRef{embed, "features"}}, {"genes", OutputRef{encode, "genes"}}},
                 .outputs = {{"latents", out / output_names::kLatents}}});
  const NodeId stitch = graph.add({.stage = make_stitch_stage(config, engines),
                                   .inputs = {{"latents", OutputRef{synthesize, "latents"}},
                                              {"tiles", OutputRef{tile, "tiles"}},
                                              {"expression", OutputRef{express, "expression"}}},
                                   .outputs = {{"virtual", out / output_names::kVirtual}}});
  const NodeId evaluate = graph.add({.stage = make_evaluate_stage(config, engines),
                                     .inputs = {{"slide", inputs.slide},
                                                {"tiles", OutputRef{tile, "tiles"}},
                                                {"features", OutputRef{embed, "features"}},
                                                {"virtual", OutputRef{stitch, "virtual"}},
                                                {"latents", OutputRef{synthesize, "latents"}}},
                                     .outputs = {{"metrics", out / output_names::kMetrics}}});
  // The page shows what the stages had to say: the same for a run that computed and one that found all done.
  graph.add({.stage = make_report_stage(config, {}),
             .inputs = {{"slide", inputs.slide},
                        {"tiles", OutputRef{tile, "tiles"}},
                        {"virtual", OutputRef{stitch, "virtual"}},
                        {"metrics", OutputRef{evaluate, "metrics"}}},
             .outputs = {{"report", out / output_names::kReport}, {"preview", out / output_names::kPreview}},
             .with_notes = [config](const std::vector<pipeline::StageNotes>& notes) {
               return make_report_stage(config, describe_for_report(config, notes));
             }});
  return graph;
}

std::shared_ptr<const Stage> make_report_stage(const Config& config, nlohmann::json run) {
  stages::ReportOptions options = stages::report_options(config);
  options.generator = generator();
  options.run = std::move(run);
  return std::make_shared<stages::ReportStage>(options);
}

}  // namespace vtissue::cli
