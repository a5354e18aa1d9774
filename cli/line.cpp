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
#include "stages/ood/ood_stage.h"
#include "stages/preview/preview_stage.h"
#include "stages/report/report_config.h"
#include "stages/report/report_stage.h"
#include "stages/spot_grid/spot_grid_stage.h"
#include "stages/stitch/latent_decoder.h"
#include "stages/stitch/provenance.h"
#include "stages/stitch/stitch_config.h"
#include "stages/stitch/stitch_stage.h"
#include "stages/synthesize/exact_conditions.h"
#include "stages/synthesize/lattice_stage.h"
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

/// A tile stage that refuses, before anything runs, grids which synthesize cannot use.
std::shared_ptr<const Stage> make_tile_stage_for_synthesis(const Config& config) {
  stages::TileOptions options = stages::tile_options(config);
  const stages::SynthesizeOptions synthesis = stages::synthesize_options(config);
  if (options.overlap_px != 0) {
    throw Error(ErrorCode::kUsage,
                "tile.overlap_px = {}: synthesis takes tiles side by side; set it to 0, or run tile, embed and express "
                "one by one",
                options.overlap_px);
  }
  if (options.half_shift && synthesis.mode != stages::SynthesisMode::kIndependent) {
    throw Error(
        ErrorCode::kUsage,
        "tile.shift = half: synthesis mode {} takes tiles from the slide's corner on; set tile.shift = none, or "
        "synthesize.mode = independent",
        to_string(synthesis.mode));
  }
  options.for_synthesis = true;
  return std::make_shared<stages::TileStage>(std::move(options));
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

std::shared_ptr<const Stage> make_spot_grid_stage(const Config& config, Engines& engines) {
  const auto encoder = engines.encoder();
  return std::make_shared<stages::SpotGridStage>(
      stages::SpotGridOptions{.size_px = config.get<int>("tile.size_px"),
                              .mpp = config.get<double>("tile.mpp"),
                              .spot_mpp = config.get_optional<double>("tile.slide_mpp"),
                              .measured = stages::express_options(config).measured,
                              .encoder = encoder->info().name,
                              .encoder_sha256 = encoder->info().sha256,
                              .morphology_dim = encoder->dim()},
      engines.gene_encoder()->genes());
}

namespace {

/// The measurement's files as a stage's inputs.
void bind_measurement(const ExpressionSource& source, pipeline::Node& node) {
  if (!source.visium.empty()) node.inputs["visium"] = source.visium;
  if (!source.h5ad.empty()) node.inputs["h5ad"] = source.h5ad;
  if (source.st_counts.empty()) return;
  node.inputs["st_counts"] = source.st_counts;
  node.inputs["st_spots"] = source.st_spots;
}

/// How far the conditions are from the denoiser's training; nothing where nobody is to look, or the denoiser is a
/// double.
std::optional<NodeId> add_ood(const Config& config, Engines& engines, const fs::path& out, OutputRef tiles,
                              OutputRef features, OutputRef genes, Graph& graph) {
  stages::OodOptions options = stages::ood_options(config);
  const auto denoiser = engines.denoiser();
  if (options.policy == stages::OodOptions::Policy::kOff || denoiser->info().architecture == "null")
    return std::nullopt;
  options.denoiser = denoiser->info().name;
  options.statistics = engines.condition_statistics();
  return graph.add(
      {.stage = std::make_shared<stages::OodStage>(options),
       .inputs = {{"tiles", std::move(tiles)}, {"features", std::move(features)}, {"genes", std::move(genes)}},
       .outputs = {{"report", out / output_names::kOod}, {"map", out / output_names::kOodMap}}});
}

/// spot_grid → express → encode → synthesize → stitch: a slide that no picture was the model of, so that there is
/// nothing to compare it with either.
Graph make_line_without_slide(const Config& config, const LineInputs& inputs, Engines& engines) {
  const fs::path& out = inputs.out;
  if (!inputs.expression.measured()) {
    throw Error(ErrorCode::kUsage,
                "neither a slide nor a measurement is given; give --slide, or --h5ad, --visium or --st-counts for "
                "a slide from expression alone");
  }
  if (config.has("tile.region")) {
    throw Error(ErrorCode::kUsage, "--region is a part of a slide's picture, and no --slide is given");
  }
  require_models_fit(config, engines, false);
  Graph graph;
  pipeline::Node grid_node{
      .stage = make_spot_grid_stage(config, engines),
      .outputs = {{"tiles", out / output_names::kTiles}, {"features", out / output_names::kFeatures}}};
  bind_measurement(inputs.expression, grid_node);
  const NodeId grid = graph.add(std::move(grid_node));
  pipeline::Node express_node{.stage = make_express_stage(config, engines, inputs.expression),
                              .inputs = {{"tiles", OutputRef{grid, "tiles"}}},
                              .outputs = {{"expression", out / output_names::kExpression}}};
  bind_measurement(inputs.expression, express_node);
  const NodeId express = graph.add(std::move(express_node));
  const NodeId encode = graph.add({.stage = make_encode_stage(config, engines),
                                   .inputs = {{"expression", OutputRef{express, "expression"}}},
                                   .outputs = {{"genes", out / output_names::kGenes}}});
  Config alone = config;
  alone.set_value("synthesize.guidance_form", "expression_only");
  const NodeId synthesize =
      graph.add({.stage = make_synthesize_stage(alone, engines),
                 .inputs = {{"features", OutputRef{grid, "features"}}, {"genes", OutputRef{encode, "genes"}}},
                 .outputs = {{"latents", out / output_names::kLatents}}});
  const auto ood = add_ood(config, engines, out, {grid, "tiles"}, {grid, "features"}, {encode, "genes"}, graph);
  pipeline::Node stitch_node{.stage = make_stitch_stage(config, engines),
                             .inputs = {{"latents", OutputRef{synthesize, "latents"}},
                                        {"tiles", OutputRef{grid, "tiles"}},
                                        {"expression", OutputRef{express, "expression"}}},
                             .outputs = {{"virtual", out / output_names::kVirtual}}};
  if (ood) stitch_node.inputs["ood"] = OutputRef{*ood, "report"};
  graph.add(std::move(stitch_node));
  return graph;
}

}  // namespace

namespace {

/// The nodes that make the conditions of windows on one lattice, as those of the tiles are made, in a folder of their
/// own; they become inputs of `synthesize`.
struct ConditionNodes {
  NodeId tile, embed, express, encode;
};
void add_lattice(Graph& graph, Point<Latent> lattice, const ConditionNodes& of_tiles, const LineInputs& inputs,
                 Engines& engines, pipeline::Node& synthesize) {
  const std::string name = stages::lattice_name(lattice);
  const fs::path folder = inputs.out / output_names::kWindows / name;
  const int factor = engines.autoencoder()->factor();
  const NodeId tiles = graph.add(
      {.stage = std::make_shared<stages::LatticeStage>(Point<TargetPx>{lattice.x * factor, lattice.y * factor}),
       .inputs = {{"tiles", OutputRef{of_tiles.tile, "tiles"}}},
       .outputs = {{"lattice", folder / output_names::kTiles}},
       .name = "lattice-" + name});
  // The same stages, on other tiles.
  const NodeId embed = graph.add({.stage = graph.node(of_tiles.embed).stage,
                                  .inputs = {{"slide", inputs.slide}, {"tiles", OutputRef{tiles, "lattice"}}},
                                  .outputs = {{"features", folder / output_names::kFeatures}},
                                  .name = "embed-" + name});
  pipeline::Node express_node = graph.node(of_tiles.express);
  express_node.inputs["tiles"] = OutputRef{tiles, "lattice"};
  if (express_node.inputs.contains("features")) express_node.inputs["features"] = OutputRef{embed, "features"};
  express_node.outputs = {{"expression", folder / output_names::kExpression}};
  express_node.name = "express-" + name;
  const NodeId express = graph.add(std::move(express_node));
  const NodeId encode = graph.add({.stage = graph.node(of_tiles.encode).stage,
                                   .inputs = {{"expression", OutputRef{express, "expression"}}},
                                   .outputs = {{"genes", folder / output_names::kGenes}},
                                   .name = "encode-" + name});
  const auto [features_port, genes_port] = stages::lattice_ports(lattice);
  synthesize.inputs[features_port] = OutputRef{embed, "features"};
  synthesize.inputs[genes_port] = OutputRef{encode, "genes"};
}

/// The nodes that end in latents.
struct SynthesisNodes {
  NodeId tile, embed, express, encode, synthesize;
};

SynthesisNodes add_synthesis(Graph& graph, const Config& config, const LineInputs& inputs, Engines& engines) {
  const fs::path& out = inputs.out;
  const bool predicted = !inputs.expression.measured();
  pipeline::Node tile_node{.stage = make_tile_stage_for_synthesis(config),
                           .inputs = {{"slide", inputs.slide}},
                           .outputs = {{"tiles", out / output_names::kTiles}}};
  const auto bind_tissue = [&](const char* port, const fs::path& given, const char* key) {
    const auto configured = config.get_optional<std::string>(key);
    if (!given.empty() || configured) tile_node.inputs[port] = given.empty() ? fs::path(*configured) : given;
  };
  bind_tissue("annotations", inputs.annotations, "tissue.annotations");
  bind_tissue("tissue_mask", inputs.tissue_mask, "tissue.mask");
  if (config.has("tile.coordinates")) tile_node.inputs["coordinates"] = config.get<std::string>("tile.coordinates");
  const NodeId tile = graph.add(std::move(tile_node));
  pipeline::Node embed_node{.stage = make_embed_stage(config, engines, predicted),
                            .inputs = {{"slide", inputs.slide}, {"tiles", OutputRef{tile, "tiles"}}},
                            .outputs = {{"features", out / output_names::kFeatures}}};
  if (config.has("embed.patch_features")) {
    embed_node.inputs["patch_features"] = config.get<std::string>("embed.patch_features");
  }
  const NodeId embed = graph.add(std::move(embed_node));

  pipeline::Node express_node{.stage = make_express_stage(config, engines, inputs.expression),
                              .inputs = {{"slide", inputs.slide}, {"tiles", OutputRef{tile, "tiles"}}},
                              .outputs = {{"expression", out / output_names::kExpression}}};
  if (predicted) express_node.inputs["features"] = OutputRef{embed, "features"};
  bind_measurement(inputs.expression, express_node);
  const NodeId express = graph.add(std::move(express_node));

  const NodeId encode = graph.add({.stage = make_encode_stage(config, engines),
                                   .inputs = {{"expression", OutputRef{express, "expression"}}},
                                   .outputs = {{"genes", out / output_names::kGenes}}});
  pipeline::Node synthesize_node{
      .stage = make_synthesize_stage(config, engines),
      .inputs = {{"features", OutputRef{embed, "features"}}, {"genes", OutputRef{encode, "genes"}}},
      .outputs = {{"latents", out / output_names::kLatents}}};
  const auto lattices = dynamic_cast<const stages::SynthesizeStage&>(*synthesize_node.stage).lattices();
  if (!lattices.empty() && config.has("embed.patch_features")) {
    throw Error(ErrorCode::kUsage,
                "synthesize.conditions is exact, but embed.patch_features has the features of the tiles alone, not of "
                "windows between them; leave one of them out");
  }
  for (const Point<Latent> lattice : lattices) {
    add_lattice(graph, lattice, {tile, embed, express, encode}, inputs, engines, synthesize_node);
  }
  const NodeId synthesize = graph.add(std::move(synthesize_node));
  return {tile, embed, express, encode, synthesize};
}

}  // namespace

Graph make_preview_line(const Config& config, const LineInputs& inputs, const Box<Level0Px>& region, Engines& engines) {
  require_models_fit(config, engines, !inputs.expression.measured());
  Graph graph;
  const SynthesisNodes nodes = add_synthesis(graph, config, inputs, engines);
  stages::PreviewOptions options{.region = region,
                                 .background = stages::stitch_options(config).background,
                                 .numerics_class = engines.numerics_class()};
  graph.add({.stage = std::make_shared<stages::PreviewStage>(options, engines.autoencoder()),
             .inputs = {{"slide", inputs.slide},
                        {"tiles", OutputRef{nodes.tile, "tiles"}},
                        {"latents", OutputRef{nodes.synthesize, "latents"}}},
             .outputs = {{"preview", inputs.out / output_names::kPreview}}});
  return graph;
}

Graph make_line(const Config& config, const LineInputs& inputs, Engines& engines) {
  if (inputs.slide.empty()) return make_line_without_slide(config, inputs, engines);
  const fs::path& out = inputs.out;
  require_models_fit(config, engines, !inputs.expression.measured());
  Graph graph;
  const auto [tile, embed, express, encode, synthesize] = add_synthesis(graph, config, inputs, engines);
  const auto ood = add_ood(config, engines, out, {tile, "tiles"}, {embed, "features"}, {encode, "genes"}, graph);
  pipeline::Node stitch_node{.stage = make_stitch_stage(config, engines),
                             .inputs = {{"latents", OutputRef{synthesize, "latents"}},
                                        {"tiles", OutputRef{tile, "tiles"}},
                                        {"expression", OutputRef{express, "expression"}}},
                             .outputs = {{"virtual", out / output_names::kVirtual}}};
  if (ood) stitch_node.inputs["ood"] = OutputRef{*ood, "report"};
  const NodeId stitch = graph.add(std::move(stitch_node));
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
