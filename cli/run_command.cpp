#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <memory>

#include "cli/app.h"
#include "cli/common_options.h"
#include "cli/engines.h"
#include "cli/line.h"
#include "cli/prediction.h"
#include "cli/session.h"
#include "core/error.h"
#include "io/slide_reader.h"
#include "pipeline/run_record.h"
#include "stages/preview/preview_stage.h"

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
  std::string shard;
  bool wait = false;
  bool preview = false;
  std::optional<int> preview_steps;
  bool calibrate = false;

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
    app.add_flag("--preview", preview,
                 "only the --region: OUT/preview/preview.png, beside the real slide; the rest of OUT is left "
                 "alone");
    app.add_option("--preview-steps", preview_steps,
                   "with --preview: so many steps instead of the configuration's; fewer are faster, and not what a run "
                   "makes")
        ->check(CLI::Range(1, 1000));
    app.add_option("--shard", shard,
                   "compute one of several shares of each stage's work, such as 2/3; runs of all shares use one --out, "
                   "and the last to finish a stage lays it out")
        ->type_name("I/N");
    app.add_flag("--wait", wait, "with --shard: wait for the other shards instead of ending where they are needed");
    common.add_to(app, false);
  }

  pipeline::Config load_config() const {
    pipeline::Config config = common.load_config();
    if (mpp) config.set_value("tile.slide_mpp", *mpp);
    if (!region.empty()) config.set_value("tile.region", region);
    if (!ood.empty()) config.set_value("ood.policy", ood);
    inputs.expression.check();
    if (preview_steps) {
      if (!preview) throw Error(ErrorCode::kUsage, "--preview-steps belongs to --preview");
      config.set_value("synthesize.steps", *preview_steps);
    }
    return config;
  }

  /// Throws Error kUsage.
  pipeline::Sharding sharding() const {
    pipeline::Sharding sharding{.go_on = true, .wait = wait, .folder = folders().state / "shards"};
    if (!shard.empty()) sharding.own = pipeline::parse_shard(shard);
    if (wait && shard.empty()) throw Error(ErrorCode::kUsage, "--wait belongs to --shard");
    return sharding;
  }

  /// What is shown of the slide. Throws Error kUsage.
  Box<Level0Px> shown_region() const {
    if (region.size() != 4)
      throw Error(ErrorCode::kUsage, "--preview needs --region x,y,width,height (level-0 pixels)");
    return {{std::llround(region[0]), std::llround(region[1])}, {std::llround(region[2]), std::llround(region[3])}};
  }

  pipeline::RunFolders folders() const {
    return pipeline::folders_for_run(inputs.out, common.work.empty() ? std::nullopt : std::optional(common.work));
  }
};

/// Whether every stage has its outputs: not so where a shard's run ends before the others are there.
bool is_complete(const pipeline::Executor& executor) {
  return std::ranges::all_of(executor.outcomes(), [](const pipeline::StageOutcome& outcome) {
    return outcome.kind == pipeline::OutcomeKind::kRan || outcome.kind == pipeline::OutcomeKind::kUpToDate;
  });
}

/// Tiles around a preview's region that are computed with it: the neighbours that conditions are taken from, what the
/// decoder sees beyond the border.
constexpr int kPreviewMargin = 1;

/// µm per level-0 pixel of the slide. Throws Error kBadInput.
double mpp_of(const RunArguments& arguments, const pipeline::Config& config) {
  const auto slide =
      io::SlideReader::open(arguments.inputs.slide, {.mpp = config.get_optional<double>("tile.slide_mpp")});
  const auto& mpp = slide->info().mpp;
  if (!mpp) {
    throw Error(ErrorCode::kBadInput, "{}: no trustworthy µm/px in the slide; pass it with --mpp",
                arguments.inputs.slide.string());
  }
  return (mpp->x + mpp->y) / 2;
}

int run_preview(RunArguments arguments) {
  Session session(arguments.common);
  pipeline::Config config = arguments.load_config();
  if (!arguments.shard.empty()) throw Error(ErrorCode::kUsage, "--preview and --shard: a preview is not divided");
  if (arguments.inputs.slide.empty()) {
    throw Error(ErrorCode::kUsage, "--preview shows a part of a slide's picture, and no --slide is given");
  }
  const Box<Level0Px> shown = arguments.shown_region();
  const double tile_um = config.get<int>("tile.size_px") * config.get<double>("tile.mpp");
  const Box<Level0Px> computed = stages::grown_region(shown, kPreviewMargin, tile_um, mpp_of(arguments, config));
  config.set_value("tile.region", {computed.origin.x, computed.origin.y, computed.size.width, computed.size.height});
  if (arguments.preview_steps) {
    spdlog::info("a preview of {} steps; a run has {} unless it is told otherwise: forms will differ",
                 *arguments.preview_steps, arguments.common.load_config().get<int>("synthesize.steps"));
  }
  arguments.inputs.out /= "preview";
  Engines engines(config, arguments.common, session.threads().device);
  const pipeline::Graph line = make_preview_line(config, arguments.inputs, shown, engines);
  session.run(line, arguments.folders());
  if (!arguments.common.dry_run) std::cout << (arguments.inputs.out / output_names::kPreview).string() << '\n';
  return 0;
}

int run(const RunArguments& arguments) {
  if (arguments.preview) return run_preview(arguments);
  Session session(arguments.common);
  const pipeline::Sharding sharding = arguments.sharding();
  bool complete = true;
  const pipeline::Config config = arguments.load_config();
  Engines engines(config, arguments.common, session.threads().device);
  const pipeline::Graph line = make_line(config, arguments.inputs, engines);
  const auto started = std::chrono::system_clock::now();
  const fs::path record_file = arguments.inputs.out / output_names::kRun;

  const auto finished = [&](const pipeline::Executor& executor, const Error* error) {
    complete = is_complete(executor);
    if (sharding.own && !complete) return;  // what there is to say, the last one says
    pipeline::RunInfo info;
    info.software_version = std::string(version());
    info.configuration = config.resolved();
    info.numerics = engines.numerics_class();
    info.error = error != nullptr ? error->what() : "";
    info.interrupted = error != nullptr && error->code() == ErrorCode::kInterrupted;
    info.started = started;
    info.ended = std::chrono::system_clock::now();
    pipeline::write_run_record(record_file, info, executor);
  };
  session.run(line, arguments.folders(), sharding, record_file, finished);
  if (arguments.common.dry_run || !complete) return 0;
  for (const char* name : {output_names::kVirtual, output_names::kReport, output_names::kPreview}) {
    if (arguments.inputs.slide.empty() && name != output_names::kVirtual) break;  // nothing to compare with
    std::cout << (arguments.inputs.out / name).string() << '\n';
  }
  return 0;
}

void print_prediction(const Prediction& prediction, const std::vector<std::string>& stages, const std::string& made) {
  const auto duration = [](double seconds) {
    if (seconds < 100) return fmt::format("{:.1f} s", seconds);
    if (seconds < 6000) return fmt::format("{:.1f} min", seconds / 60);
    return fmt::format("{:.1f} h", seconds / 3600);
  };
  std::vector<std::string> each;
  for (const std::string& stage : stages) {
    each.push_back(fmt::format("{} {}", stage, duration(prediction.seconds.at(stage))));
  }
  std::cout << fmt::format(
      "predicted   {} ({})\n            {:.0f} MB of memory, {:.0f} MB on disk at the most; as "
      "measured here on {}\n",
      duration(prediction.total_seconds), fmt::join(each, ", "), static_cast<double>(prediction.memory_bytes) * 1e-6,
      static_cast<double>(prediction.disk_bytes) * 1e-6, made);
}

int plan(const RunArguments& arguments) {
  Session session(arguments.common);
  const pipeline::Config config = arguments.load_config();
  Engines engines(config, arguments.common, session.threads().device);
  const std::vector<std::string> stages =
      session.print_plan(make_line(config, arguments.inputs, engines), arguments.folders(), arguments.sharding());
  Predictor predictor(config, arguments.inputs, engines, session);
  std::optional<Calibration> calibration;
  if (arguments.calibrate || !arguments.inputs.slide.empty()) {
    calibration = arguments.calibrate ? predictor.calibrate() : predictor.remembered();
  }
  if (stages.empty() || arguments.inputs.slide.empty()) return 0;
  if (calibration) {
    print_prediction(predictor.predict(*calibration, stages), stages, calibration->made);
  } else {
    std::cout
        << "no prediction of time, memory and disk: `vtissue plan … --calibrate` measures this machine with these "
           "models once\n";
  }
  return 0;
}

void add_command(CLI::App& app, Action& action, const char* name, const char* description,
                 int (*body)(const RunArguments&)) {
  CLI::App* command = app.add_subcommand(name, description);
  const auto arguments = std::make_shared<RunArguments>();
  arguments->add_to(*command);
  if (body == plan) {
    command->add_flag(
        "--calibrate", arguments->calibrate,
        "measure, on two small squares of the slide, what predictions of time, memory and disk need; it is "
        "remembered for this machine and these models");
  }
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
