#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

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
  fs::path manifest, data_root = ".", out;
};

int prepare(const PrepareArguments& arguments) {
  pipeline::configure_logging(pipeline::LogFormat::kText);
  const stages::TrainingManifest manifest = stages::read_training_manifest(arguments.manifest, arguments.data_root);
  stages::write_training_set(manifest, arguments.out, [](std::string_view line) { spdlog::info("{}", line); });
  std::cout << arguments.out.string() << '\n';
  return 0;
}

void add_prepare(CLI::App& train, Action& action) {
  CLI::App* command = train.add_subcommand("prepare", "Cut slides and counts into a training set");
  const auto arguments = std::make_shared<PrepareArguments>();
  command->add_option("manifest", arguments->manifest, "sections and their splits, YAML (docs/training.md)")
      ->required();
  command->add_option("--data-root", arguments->data_root, "folder that the manifest's paths are relative to")
      ->capture_default_str();
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
  if (role == training::Role::kAutoencoder) {
    command->add_option("--init", options.init, "folder with taef2_encoder.safetensors and taef2_decoder.safetensors");
  }
  const bool stmdit = role == training::Role::kStmdit;
  if (stmdit || role == training::Role::kPredictor || role == training::Role::kExpression) {
    command->add_option("--encoder", options.encoder, "folder of the trained morphology encoder")->required();
  }
  if (stmdit || role == training::Role::kExpression) {
    command->add_option("--predictor", options.predictor, "folder of the trained predictor")->required();
  }
  if (stmdit) {
    command->add_option("--autoencoder", options.autoencoder, "folder of the trained autoencoder")->required();
    command->add_option("--expression", options.expression, "folder of the trained gene encoder")->required();
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
