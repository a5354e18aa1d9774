#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <memory>

#include "cli/app.h"
#include "cli/base_run.h"
#include "cli/line.h"
#include "cli/region_arguments.h"
#include "cli/session.h"
#include "core/error.h"
#include "stages/draws/draws_stage.h"
#include "stages/perturb/trajectory_stage.h"
#include "stages/stitch/stitch_config.h"
#include "stages/synthesize/synthesize_stage.h"

namespace vtissue::cli {
namespace fs = std::filesystem;

namespace {

struct DrawsArguments {
  CommonOptions common;
  fs::path run, out;
  RegionArguments region;
  int draws = 4;
};

/// The run's own latents and those of the seeds after its own, of the region or of all of the slide.
pipeline::Graph make_draws_line(const BaseRun& run, const DrawsArguments& arguments, const fs::path& out,
                                Engines& engines) {
  stages::DrawsOptions options{.glass = stages::stitch_options(run.config).background,
                               .generator = "vtissue " + std::string(version()),
                               .numerics_class = engines.numerics_class()};
  options.region = arguments.region.options();
  const fs::path region_file = arguments.region.file();
  const bool part = !options.region.whole_slide() || !region_file.empty();
  pipeline::Graph graph;
  std::map<std::string, pipeline::Source, std::less<>> inputs = {{"tiles", run.file(output_names::kTiles)}};
  if (!region_file.empty()) inputs["region"] = region_file;
  for (std::size_t k = 0; k < static_cast<std::size_t>(arguments.draws); ++k) {
    const std::uint64_t seed = run.seed + k;
    options.seeds.push_back(seed);
    pipeline::Source latents = run.file(output_names::kLatents);
    if (k > 0 || part) {
      const auto synthesis = synthesis_of(run, engines, seed);
      pipeline::Node node{
          .inputs = {{"features", run.file(output_names::kFeatures)}, {"genes", run.file(output_names::kGenes)}},
          .name = fmt::format("draw-{:02}", k)};
      const fs::path folder = out / "draws" / fmt::format("seed-{}", seed);
      if (part) {
        node.stage = std::make_shared<stages::TrajectoryStage>(options.region, synthesis);
        node.inputs["tiles"] = run.file(output_names::kTiles);
        if (k == 0) node.inputs["latents"] = run.file(output_names::kLatents);
        if (!region_file.empty()) node.inputs["region"] = region_file;
        node.outputs = {{"trajectory", folder / "trajectory"}, {"base", folder / output_names::kLatents}};
      } else {
        node.stage = synthesis;
        node.outputs = {{"latents", folder / output_names::kLatents}};
      }
      latents = pipeline::OutputRef{graph.add(std::move(node)), part ? "base" : "latents"};
    }
    inputs[stages::DrawsStage::draw_port(k)] = std::move(latents);
  }
  graph.add({.stage = std::make_shared<stages::DrawsStage>(options, engines.autoencoder(), engines.encoder()),
             .inputs = std::move(inputs),
             .outputs = {{"table", out / "uncertainty.tsv"},
                         {"embeddings", out / "uncertainty.h5"},
                         {"pixel_map", out / "uncertainty.png"},
                         {"embedding_map", out / "uncertainty_embedding.png"}}});
  return graph;
}

int draws(const DrawsArguments& arguments) {
  Session session(arguments.common);
  const BaseRun base = load_base_run(arguments.run, arguments.common);
  Engines engines(base.config, arguments.common, session.threads().device);
  require_same_synthesis(base, engines);
  const fs::path out = arguments.out.empty() ? arguments.run / "uncertainty" : arguments.out;
  const pipeline::Graph graph = make_draws_line(base, arguments, out, engines);
  run_on_base(session, base, engines, graph, out);
  if (arguments.common.dry_run) return 0;
  for (const char* name : {"uncertainty.tsv", "uncertainty.h5", "uncertainty.png", "uncertainty_embedding.png"}) {
    std::cout << (out / name).string() << '\n';
  }
  return 0;
}

}  // namespace

void add_draws_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "draws", "How much of a finished run its noise decides: several draws, and a map of where they differ");
  const auto arguments = std::make_shared<DrawsArguments>();
  command->add_option("run", arguments->run, "output folder of a finished vtissue run; nothing in it is changed")
      ->required();
  command->add_option("--draws", arguments->draws, "draws in all: the run's own and those of the seeds after its own")
      ->check(CLI::Range(2, 64))
      ->capture_default_str();
  arguments->region.add_to(*command);
  command->add_option("--out", arguments->out, "output folder; by default <run>/uncertainty");
  arguments->common.add_to(*command, true);
  command->callback([arguments, &action] { action = [arguments] { return draws(*arguments); }; });
}

}  // namespace vtissue::cli
