#include "models/training/train.h"

#include <ATen/Parallel.h>

#include <thread>
#include <utility>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "models/mkl_mode.h"
#include "models/torch.h"
#include "models/training/roles.h"
#include "models/training/trainer.h"

namespace vtissue::models::training {
namespace {

constexpr std::pair<Role, std::string_view> kRoles[] = {{Role::kAutoencoder, "ae"},
                                                        {Role::kEncoder, "encoder"},
                                                        {Role::kPredictor, "predictor"},
                                                        {Role::kExpression, "expression"},
                                                        {Role::kStmdit, "stmdit"}};

/// The folders that a role starts from.
std::vector<std::pair<std::string, std::filesystem::path>> models_of(const TrainOptions& options) {
  switch (options.role) {
    case Role::kAutoencoder:
      return {{"init", options.init}};
    case Role::kEncoder:
      return {};
    case Role::kPredictor:
      return {{"encoder", options.encoder}};
    case Role::kExpression:
      return {{"encoder", options.encoder}, {"predictor", options.predictor}};
    case Role::kStmdit:
      return {{"init", options.init},
              {"autoencoder", options.autoencoder},
              {"encoder", options.encoder},
              {"predictor", options.predictor},
              {"expression", options.expression}};
  }
  return {};
}

/// Digests of everything a training reads besides its configuration: the set, and the models' files.
nlohmann::json digests_of_inputs(const TrainOptions& options) {
  nlohmann::json digests = {{"data", sha256_file(options.data)}};
  for (const auto& [name, folder] : models_of(options)) {
    nlohmann::json& files = digests[name] = nlohmann::json::object();
    if (folder.empty()) continue;
    std::error_code missing;  // is reported where the model is opened
    for (const auto& entry : std::filesystem::directory_iterator(folder, missing)) {
      const std::filesystem::path file = entry.path().filename();
      const bool weights = file.extension() == ".safetensors" && file != "checkpoint.safetensors";
      if (weights || file == "config.json") files[file.string()] = sha256_file(entry.path());
    }
  }
  return digests;
}

}  // namespace

std::string_view to_string(Role role) {
  for (const auto& [value, name] : kRoles) {
    if (value == role) return name;
  }
  return "unknown";
}

Role parse_role(std::string_view name) {
  for (const auto& [value, text] : kRoles) {
    if (text == name) return value;
  }
  throw Error(ErrorCode::kUsage, "'{}' is no network to train; expected ae, encoder, predictor, expression or stmdit",
              name);
}

void set_config_value(nlohmann::json& config, std::string_view assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw Error(ErrorCode::kUsage, "--set {}: expected key=value", assignment);
  }
  nlohmann::json* at = &config;
  std::string_view key = assignment.substr(0, equals);
  while (true) {
    const auto dot = key.find('.');
    const auto found = at->is_object() ? at->find(std::string(key.substr(0, dot))) : at->end();
    if (!at->is_object() || found == at->end()) {
      throw Error(ErrorCode::kUsage, "--set {}: the configuration has no such value", assignment);
    }
    at = &*found;
    if (dot == std::string_view::npos) break;
    key.remove_prefix(dot + 1);
  }
  const std::string text(assignment.substr(equals + 1));
  nlohmann::json value = nlohmann::json::parse(text, nullptr, false);
  *at = value.is_discarded() ? nlohmann::json(text) : std::move(value);
}

void train(const TrainOptions& given) {
  TrainOptions options = given;
  if (config_value<std::string>(options.config, "role") != to_string(options.role)) {
    throw Error(ErrorCode::kUsage, "training config: \"role\" is \"{}\", but {} is to be trained",
                config_value<std::string>(options.config, "role"), to_string(options.role));
  }
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  set_mkl_mode();
  at::set_num_threads(options.threads > 0 ? options.threads : static_cast<int>(cores));
  const TrainingSet set = TrainingSet::open(options.data);
  options.inputs = digests_of_inputs(options);
  std::error_code failed;
  std::filesystem::create_directories(options.out, failed);
  if (failed) throw_output_error(options.out, "create", failed.value());
  // The starting weights.
  torch::manual_seed(config_value<std::uint64_t>(options.config, "seed"));
  switch (options.role) {
    case Role::kAutoencoder:
      return train_autoencoder(options, set);
    case Role::kEncoder:
      return train_encoder(options, set);
    case Role::kPredictor:
      return train_predictor(options, set);
    case Role::kExpression:
      return train_expression(options, set);
    case Role::kStmdit:
      return train_stmdit(options, set);
  }
}

}  // namespace vtissue::models::training
