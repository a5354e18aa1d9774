#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/app.h"
#include "cli/common_options.h"
#include "core/error.h"
#include "models/training/train.h"
#include "pipeline/logging.h"
#include "pipeline/signals.h"
#include "stages/training_set/training_set.h"

namespace vtissue::cli {
namespace fs = std::filesystem;
namespace training = models::training;

namespace {

struct PrepareArguments {
  fs::path manifest, data_root, out;
  std::optional<double> mpp;
  std::optional<int> panel_genes;

  /// A sample sheet's paths are relative to the sheet, a manifest's to where the command is given.
  stages::TrainingManifest read_manifest() const {
    const fs::path extension = manifest.extension();
    const bool sheet = extension == ".csv" || extension == ".tsv";
    stages::TrainingManifest read = sheet
                                        ? stages::training_manifest_of_sheet(manifest, data_root)
                                        : stages::read_training_manifest(manifest, data_root.empty() ? "." : data_root);
    if (mpp) read.mpp = *mpp;
    if (panel_genes) read.panel_genes = *panel_genes;
    return read;
  }
};

int prepare(const PrepareArguments& arguments) {
  pipeline::configure_logging(pipeline::LogFormat::kText);
  stages::write_training_set(arguments.read_manifest(), arguments.out,
                             [](std::string_view line) { spdlog::info("{}", line); });
  std::cout << arguments.out.string() << '\n';
  return 0;
}

void add_prepare(CLI::App& train, Action& action) {
  CLI::App* command = train.add_subcommand("prepare", "Cut slides and counts into a training set");
  const auto arguments = std::make_shared<PrepareArguments>();
  command
      ->add_option("manifest", arguments->manifest,
                   "sections and their splits, YAML, or a sample sheet, .csv or .tsv (docs/training.md)")
      ->required();
  command->add_option("--data-root", arguments->data_root,
                      "folder that paths are relative to; by default this one, for a sheet the sheet's");
  command->add_option("--mpp", arguments->mpp, "µm/px of the training set, instead of the manifest's")
      ->check(CLI::PositiveNumber);
  command->add_option("--panel-genes", arguments->panel_genes, "size of the gene panel, instead of the manifest's")
      ->check(CLI::PositiveNumber);
  command->add_option("--out", arguments->out, "training set to write, safetensors")->required();
  command->callback([arguments, &action] { action = [arguments] { return prepare(*arguments); }; });
}

struct TrainArguments {
  fs::path config;
  std::vector<std::string> set;
  CommonOptions common;  // of these only --threads and --max-time
  training::TrainOptions options;
};

int train(TrainArguments& arguments) {
  pipeline::configure_logging(pipeline::LogFormat::kText);
  std::ifstream file(arguments.config);
  if (!file) throw Error(ErrorCode::kUsage, "{}: cannot be read", arguments.config.string());
  try {
    arguments.options.config = nlohmann::json::parse(file);
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::kUsage, "{}: not JSON: {}", arguments.config.string(), e.what());
  }
  for (const std::string& assignment : arguments.set) training::set_config_value(arguments.options.config, assignment);

  const auto limit = arguments.common.max_seconds();
  const pipeline::StopOnSignal stop(
      limit ? std::optional(std::chrono::milliseconds(static_cast<std::int64_t>(*limit * 1000))) : std::nullopt);
  const std::stop_token token = stop.token();
  arguments.options.threads = arguments.common.resolved_threads();
  arguments.options.stop_requested = [token] { return token.stop_requested(); };
  arguments.options.progress = [](const training::TrainEvent& event) {
    if (event.steps > 0) {
      spdlog::info("{}/{} {}", event.step, event.steps, event.text);
    } else {
      spdlog::info("{}", event.text);
    }
  };
  training::train(arguments.options);
  std::cout << arguments.options.out.string() << '\n';
  return 0;
}

void add_role(CLI::App& parent, Action& action, training::Role role, const char* description) {
  CLI::App* command = parent.add_subcommand(std::string(training::to_string(role)), description);
  const auto arguments = std::make_shared<TrainArguments>();
  training::TrainOptions& options = arguments->options;
  options.role = role;
  command->add_option("config", arguments->config, "training configuration, JSON (configs/train/)")->required();
  command->add_option("--data", options.data, "training set of vtissue train prepare")->required();
  command->add_option("--out", options.out, "folder for the model; a training found there goes on")->required();
  command->add_option("--set", arguments->set, "one configuration value: optimizer.steps=100; may be repeated");
  command->add_option("--threads", arguments->common.threads, "cores to use; 0: all that this process may use");
  command->add_option("--max-time", arguments->common.max_time,
                      "save and stop when this much time is over: 90s, 30m, 2h");
  const bool stmdit = role == training::Role::kStmdit;
  if (role == training::Role::kAutoencoder) {
    command->add_option("--init", options.init, "folder with taef2_encoder.safetensors and taef2_decoder.safetensors");
  }
  if (stmdit) command->add_option("--init", options.init, "folder of a PixCell or STMDiT to fine-tune");
  if (stmdit || role == training::Role::kPredictor || role == training::Role::kExpression) {
    command->add_option("--encoder", options.encoder, "folder of the trained morphology encoder")->required();
  }
  if (stmdit || role == training::Role::kExpression) {
    // What a variant of STMDiT does without is not asked for.
    command->add_option("--predictor", options.predictor, "folder of the trained predictor")->required(!stmdit);
  }
  if (stmdit) {
    command->add_option("--autoencoder", options.autoencoder, "folder of the trained autoencoder")->required();
    command->add_option("--expression", options.expression, "folder of the trained gene encoder");
  }
  command->callback([arguments, &action] { action = [arguments] { return train(*arguments); }; });
}

}  // namespace

void add_train_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("train", "Prepare data and train the networks (docs/training.md)");
  command->require_subcommand(1);
  add_prepare(*command, action);
  add_role(*command, action, training::Role::kAutoencoder, "Train the autoencoder");
  add_role(*command, action, training::Role::kEncoder, "Train the morphology encoder");
  add_role(*command, action, training::Role::kPredictor, "Train the expression predictor");
  add_role(*command, action, training::Role::kExpression, "Train the gene encoder");
  add_role(*command, action, training::Role::kStmdit, "Train the denoiser");
}

}  // namespace vtissue::cli
