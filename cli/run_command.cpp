#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <memory>

#include "cli/app.h"
#include "cli/common_options.h"
#include "cli/engines.h"
#include "cli/line.h"
#include "cli/session.h"
#include "core/error.h"
#include "pipeline/run_record.h"

namespace vtissue::cli {
namespace fs = std::filesystem;

namespace {

/// Arguments of `run` and `plan`, which are the same.
struct RunArguments {
  CommonOptions common;
  LineInputs inputs;
  std::optional<double> mpp;
  std::vector<double> region;
  std::string ood;

  void add_to(CLI::App& app) {
    app.add_option("config", common.config, "pipeline configuration, YAML (docs/configuration.md)")->required();
    app.add_option(
        "--slide", inputs.slide,
        "whole-slide image, or a plain TIFF, PNG or JPEG; without it a slide is made from measured expression alone");
    app.add_option("--out", inputs.out, "output folder; created if missing")->required();
    app.add_option("--annotations", inputs.annotations,
                   "GeoJSON of QuPath or others: tissue is only within (tissue.annotations)");
    app.add_option("--tissue-mask", inputs.tissue_mask,
                   "picture of the whole slide, not black where there is tissue (tissue.mask)");
    app.add_option("--visium", inputs.expression.visium, "measured expression: Space Ranger's outs/ folder");
    app.add_option("--h5ad", inputs.expression.h5ad, "measured expression: AnnData, .h5ad or .h5ad.gz");
    app.add_option("--st-counts", inputs.expression.st_counts,
                   "measured expression: legacy ST counts, .tsv or .tsv.gz");
    app.add_option("--st-spots", inputs.expression.st_spots, "and the table of spots with pixel_x, pixel_y");
    app.add_option("--mpp", mpp, "µm/px of the slide's level 0, instead of what the file says");
    app.add_option("--region", region, "x,y,width,height in level-0 pixels: only this part")
        ->delimiter(',')
        ->expected(4);
    app.add_option("--ood", ood, "what happens if the slide is far from what the denoiser was trained with: ood.policy")
        ->check(CLI::IsMember({"fail", "warn", "off"}));
    common.add_to(app, false);
  }

  pipeline::Config load_config() const {
    pipeline::Config config = common.load_config();
    if (mpp) config.set_value("tile.slide_mpp", *mpp);
    if (!region.empty()) config.set_value("tile.region", region);
    if (!ood.empty()) config.set_value("ood.policy", ood);
    inputs.expression.check();
    return config;
  }

  pipeline::RunFolders folders() const {
    return pipeline::folders_for_run(inputs.out, common.work.empty() ? std::nullopt : std::optional(common.work));
  }
};

int run(const RunArguments& arguments) {
  Session session(arguments.common);
  const pipeline::Config config = arguments.load_config();
  Engines engines(config, arguments.common, session.threads().device);
  const pipeline::Graph line = make_line(config, arguments.inputs, engines);
  const auto started = std::chrono::system_clock::now();
  const fs::path record_file = arguments.inputs.out / output_names::kRun;

  session.run(line, arguments.folders(), record_file, [&](const pipeline::Executor& executor, const Error* error) {
    pipeline::RunInfo info;
    info.software_version = std::string(version());
    info.configuration = config.resolved();
    info.numerics = engines.numerics_class();
    info.error = error != nullptr ? error->what() : "";
    info.interrupted = error != nullptr && error->code() == ErrorCode::kInterrupted;
    info.started = started;
    info.ended = std::chrono::system_clock::now();
    pipeline::write_run_record(record_file, info, executor);
  });
  if (arguments.common.dry_run) return 0;
  for (const char* name : {output_names::kVirtual, output_names::kReport, output_names::kPreview}) {
    if (arguments.inputs.slide.empty() && name != output_names::kVirtual) break;  // nothing to compare with
    std::cout << (arguments.inputs.out / name).string() << '\n';
  }
  return 0;
}

int plan(const RunArguments& arguments) {
  Session session(arguments.common);
  const pipeline::Config config = arguments.load_config();
  Engines engines(config, arguments.common, session.threads().device);
  session.print_plan(make_line(config, arguments.inputs, engines), arguments.folders());
  return 0;
}

void add_command(CLI::App& app, Action& action, const char* name, const char* description,
                 int (*body)(const RunArguments&)) {
  CLI::App* command = app.add_subcommand(name, description);
  const auto arguments = std::make_shared<RunArguments>();
  arguments->add_to(*command);
  command->callback([arguments, body, &action] { action = [arguments, body] { return body(*arguments); }; });
}

}  // namespace

void add_run_command(CLI::App& app, Action& action) {
  add_command(app, action, "run", "Make a virtual slide of a slide; the same command goes on after any interruption",
              run);
}

void add_plan_command(CLI::App& app, Action& action) {
  add_command(app, action, "plan", "Show what run would do with the same arguments, and why", plan);
}

}  // namespace vtissue::cli
