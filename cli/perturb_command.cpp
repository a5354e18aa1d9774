#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "cli/app.h"
#include "cli/base_run.h"
#include "cli/perturb_line.h"
#include "cli/region_arguments.h"
#include "cli/session.h"
#include "core/error.h"

namespace vtissue::cli {
namespace fs = std::filesystem;

namespace {

struct PerturbArguments {
  CommonOptions common;
  fs::path run, out;
  std::string genes, sweep;
  RegionArguments region;
  int controls = 0, housekeeping = 0, seeds = 1;
};

PerturbRequest request_of(const PerturbArguments& arguments) {
  PerturbRequest request;
  if (arguments.genes.empty() == arguments.sweep.empty()) {
    throw Error(ErrorCode::kUsage, "give either --genes \"MITF=-2sd,CD8A=+1.5\" or --sweep MITF=-3sd..+3sd:7");
  }
  if (!arguments.genes.empty()) request.changes = stages::parse_gene_changes(arguments.genes);
  if (!arguments.sweep.empty()) {
    request.sweep = stages::parse_gene_sweep(arguments.sweep);
    if (arguments.controls > 0 || arguments.housekeeping > 0 || arguments.seeds > 1) {
      throw Error(ErrorCode::kUsage, "--controls, --housekeeping and --seeds belong to --genes, not to --sweep");
    }
  }
  request.region = arguments.region.options();
  request.region_file = arguments.region.file();
  request.controls = static_cast<std::size_t>(arguments.controls);
  request.housekeeping = static_cast<std::size_t>(arguments.housekeeping);
  request.seeds = static_cast<std::size_t>(arguments.seeds);
  request.out = arguments.out.empty() ? arguments.run / "perturb" / perturbation_name(request) : arguments.out;
  return request;
}

int perturb(const PerturbArguments& arguments) {
  Session session(arguments.common);
  const PerturbRequest request = request_of(arguments);
  const BaseRun base = load_base_run(arguments.run, arguments.common);
  Engines engines(base.config, arguments.common, session.threads().device);
  require_same_synthesis(base, engines);
  std::vector<fs::path> results;
  const pipeline::Graph graph = make_perturb_line(base, request, engines, results);
  run_on_base(session, base, engines, graph, request.out);
  if (arguments.common.dry_run) return 0;
  for (const fs::path& path : results) std::cout << path.string() << '\n';
  return 0;
}

}  // namespace

void add_perturb_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "perturb",
      "What a finished run would look like with other expression: same noise, a changed region, what differs");
  const auto arguments = std::make_shared<PerturbArguments>();
  command->add_option("run", arguments->run, "output folder of a finished vtissue run; nothing in it is changed")
      ->required();
  command
      ->add_option(
          "--genes", arguments->genes,
          "changes: MITF=-2sd (standard deviations over the slide's tiles), CD8A=+1.5 (log1p of counts per "
          "10,000), CD8A=+20cp10k, MITF=x0.5 (times the counts), MITF=0 (the value itself); several with commas")
      ->type_name("CHANGES");
  command->add_option("--sweep", arguments->sweep, "a strip of pictures over values of one gene: MITF=-3sd..+3sd:7")
      ->type_name("RANGE");
  arguments->region.add_to(*command);
  command->add_option("--out", arguments->out, "output folder; by default <run>/perturb/<the changes>");
  command
      ->add_option("--controls", arguments->controls,
                   "also so many sets of random genes, matched by mean expression and dispersion")
      ->check(CLI::Range(0, 999))
      ->capture_default_str();
  command->add_option("--housekeeping", arguments->housekeeping, "also so many sets of housekeeping genes")
      ->check(CLI::Range(0, 999))
      ->capture_default_str();
  command
      ->add_option("--seeds", arguments->seeds,
                   "seeds of the noise over which the change and its controls are averaged")
      ->check(CLI::Range(1, 99))
      ->capture_default_str();
  arguments->common.add_to(*command, true);
  command->callback([arguments, &action] { action = [arguments] { return perturb(*arguments); }; });
}

}  // namespace vtissue::cli
