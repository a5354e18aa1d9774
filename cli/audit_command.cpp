#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "cli/app.h"
#include "cli/base_run.h"
#include "cli/line.h"
#include "cli/session.h"
#include "stages/audit/audit_stage.h"
#include "stages/audit/choose_stage.h"
#include "stages/perturb/redraw_stage.h"
#include "stages/perturb/trajectory_stage.h"
#include "stages/stitch/stitch_config.h"
#include "stages/synthesize/synthesize_stage.h"

namespace vtissue::cli {
namespace fs = std::filesystem;
using pipeline::NodeId;
using pipeline::OutputRef;
using pipeline::Source;

namespace {

struct AuditArguments {
  CommonOptions common;
  fs::path run, out;
  int retry = 0;
  std::optional<double> least_cosine;
};

class AuditLine {
 public:
  AuditLine(const BaseRun& run, const AuditArguments& arguments, const fs::path& out, Engines& engines)
      : run_(run), arguments_(arguments), out_(out), engines_(engines) {}

  /// The virtual slide's tiles embedded and predicted again, beside what was asked for. `suffix` tells a second audit's
  /// nodes and files apart.
  NodeId add_audit(const Source& slide, const std::string& suffix) {
    const fs::path tiles = run_.file(output_names::kTiles);
    const auto named = [&](const char* name, const char* end) { return out_ / (name + suffix + end); };
    const NodeId seen = graph_.add({.stage = std::make_shared<stages::AuditTilesStage>(),
                                    .inputs = {{"tiles", tiles}, {"virtual", slide}},
                                    .outputs = {{"seen", named("seen_tiles", ".h5")}},
                                    .name = "audit_tiles" + suffix});
    const bool predicts = run_.config.has("models.predictor");
    const NodeId embed = graph_.add({.stage = make_embed_stage(run_.config, engines_, predicts),
                                     .inputs = {{"slide", slide}, {"tiles", OutputRef{seen, "seen"}}},
                                     .outputs = {{"features", named("seen_features", ".h5")}},
                                     .name = "embed" + suffix});
    pipeline::Node audit{.stage = std::make_shared<stages::AuditStage>(stages::AuditOptions{arguments_.least_cosine}),
                         .inputs = {{"tiles", tiles},
                                    {"features", run_.file(output_names::kFeatures)},
                                    {"features_seen", OutputRef{embed, "features"}}},
                         .outputs = {{"report", named("metrics", ".json")},
                                     {"table", named("audit", ".tsv")},
                                     {"morphology_map", named("audit_morphology", ".png")},
                                     {"expression_map", named("audit_expression", ".png")},
                                     {"failing", named("failing", ".geojson")}},
                         .name = "audit" + suffix};
    std::error_code absent;
    if (suffix.empty() && fs::exists(run_.file(output_names::kMetrics), absent)) {
      audit.inputs["metrics"] = run_.file(output_names::kMetrics);
    }
    if (predicts) {
      const NodeId express =
          graph_.add({.stage = make_express_stage(run_.config, engines_, {}),
                      .inputs = {{"tiles", OutputRef{seen, "seen"}}, {"features", OutputRef{embed, "features"}}},
                      .outputs = {{"expression", named("seen_expression", ".h5ad")}},
                      .name = "express" + suffix});
      audit.inputs["expression"] = run_.file(output_names::kExpression);
      audit.inputs["expression_seen"] = OutputRef{express, "expression"};
    }
    return graph_.add(std::move(audit));
  }

  /// Failing tiles drawn again with further noise, the best taken, and the slide they make.
  void add_retry(NodeId audit) {
    const auto synthesis = synthesis_of(run_, engines_, run_.seed);
    const stages::RegionOptions region{.may_be_empty = true};
    const std::map<std::string, Source, std::less<>> run_files = {{"tiles", run_.file(output_names::kTiles)},
                                                                  {"features", run_.file(output_names::kFeatures)},
                                                                  {"genes", run_.file(output_names::kGenes)},
                                                                  {"region", OutputRef{audit, "failing"}}};
    pipeline::Node base{.stage = std::make_shared<stages::TrajectoryStage>(region, synthesis),
                        .inputs = run_files,
                        .outputs = {{"trajectory", out_ / "trajectory"}, {"base", out_ / "base"}}};
    base.inputs["latents"] = run_.file(output_names::kLatents);
    const NodeId trajectory = graph_.add(std::move(base));
    stages::ChooseOptions options{.glass = stages::stitch_options(run_.config).background,
                                  .numerics_class = engines_.numerics_class()};
    pipeline::Node choose{
        .inputs = {{"tiles", run_.file(output_names::kTiles)},
                   {"features", run_.file(output_names::kFeatures)},
                   {"failing", OutputRef{audit, "failing"}},
                   {"latents", run_.file(output_names::kLatents)}},
        .outputs = {{"chosen", out_ / output_names::kLatents}, {"report", out_ / "drawn_again.json"}}};
    for (int key = 1; key <= arguments_.retry; ++key) {
      pipeline::Node redraw{
          .stage = std::make_shared<stages::RedrawStage>(region, synthesis, static_cast<std::uint64_t>(key)),
          .inputs = run_files,
          .outputs = {{"latents", out_ / "candidates" / std::to_string(key)}},
          .name = fmt::format("redraw-{:02}", key)};
      redraw.inputs["trajectory"] = OutputRef{trajectory, "trajectory"};
      choose.inputs[stages::ChooseStage::candidate_port(options.noise_keys.size())] =
          OutputRef{graph_.add(std::move(redraw)), "latents"};
      options.noise_keys.push_back(static_cast<std::uint64_t>(key));
    }
    choose.stage = std::make_shared<stages::ChooseStage>(options, engines_.autoencoder(), engines_.encoder());
    const NodeId chosen = graph_.add(std::move(choose));
    const NodeId stitch = graph_.add({.stage = make_stitch_stage(run_.config, engines_),
                                      .inputs = {{"latents", OutputRef{chosen, "chosen"}},
                                                 {"tiles", run_.file(output_names::kTiles)},
                                                 {"expression", run_.file(output_names::kExpression)}},
                                      .outputs = {{"virtual", out_ / output_names::kVirtual}}});
    add_audit(OutputRef{stitch, "virtual"}, "-after");
  }

  pipeline::Graph take() { return std::move(graph_); }

 private:
  const BaseRun& run_;
  const AuditArguments& arguments_;
  const fs::path& out_;
  Engines& engines_;
  pipeline::Graph graph_;
};

int audit(const AuditArguments& arguments) {
  Session session(arguments.common);
  const BaseRun base = load_base_run(arguments.run, arguments.common);
  Engines engines(base.config, arguments.common, session.threads().device);
  const fs::path out = arguments.out.empty() ? arguments.run / "audit" : arguments.out;
  AuditLine line(base, arguments, out, engines);
  const NodeId first = line.add_audit(base.file(output_names::kVirtual), "");
  std::vector<const char*> results = {"metrics.json", "audit.tsv", "audit_morphology.png", "audit_expression.png",
                                      "failing.geojson"};
  if (arguments.retry > 0) {
    require_same_synthesis(base, engines);
    line.add_retry(first);
    results.insert(results.end(), {"drawn_again.json", "virtual.tiff", "metrics-after.json"});
  }
  run_on_base(session, base, engines, line.take(), out);
  if (arguments.common.dry_run) return 0;
  for (const char* name : results) std::cout << (out / name).string() << '\n';
  return 0;
}

}  // namespace

void add_audit_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "audit", "Does each tile of a finished run do what was asked: embedded again, its expression predicted again");
  const auto arguments = std::make_shared<AuditArguments>();
  command->add_option("run", arguments->run, "output folder of a finished vtissue run; nothing in it is changed")
      ->required();
  command
      ->add_option("--retry", arguments->retry,
                   "draw failing tiles again with so many further draws of the noise, and take the best")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  command
      ->add_option(
          "--least-cosine", arguments->least_cosine,
          "a tile fails below; by default below the first quartile less 1.5 times the distance of the quartiles")
      ->check(CLI::Range(-1.0, 1.0));
  command->add_option("--out", arguments->out, "output folder; by default <run>/audit");
  arguments->common.add_to(*command, true);
  command->callback([arguments, &action] { action = [arguments] { return audit(*arguments); }; });
}

}  // namespace vtissue::cli
