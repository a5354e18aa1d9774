#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "models/json_value.h"
#include "models/torch.h"
#include "models/training/optimizer.h"
#include "models/training/train.h"

namespace vtissue::models::training {

/// Figures of a step or a validation, in the order they are shown.
using Metrics = std::vector<std::pair<std::string, double>>;

/// What a role brings to the loop.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  /// Everything that is trained, heads for training included.
  virtual torch::nn::Module& module() = 0;

  /// The loss of a batch, a pure function of its number and the weights; further figures go to `metrics`. Batches are
  /// numbered through: a step of several has as many numbers.
  virtual at::Tensor loss(std::int64_t batch, Metrics& metrics) = 0;

  /// Figures on the validation sections. Called in evaluation mode, without gradients, with the averaged weights.
  virtual Metrics validate() = 0;

  /// Samples of a batch, for the rate in the log.
  virtual std::int64_t batch() const = 0;
};

/// The part of a configuration that all roles share.
struct LoopConfig {
  std::uint64_t seed = 1;
  OptimizerConfig optimizer;
  int accumulate = 1;           ///< batches whose gradients' mean makes a step
  std::int64_t log_every = 10;  ///< steps
  std::int64_t checkpoint_every = 200;
  std::int64_t validate_every = 200;
};

/// The decay of an average over the last twentieth of a training: what "ema": "auto" means. A decay for a longer
/// training would leave the starting weights in it.
double ema_for_steps(std::int64_t steps);

/// Reads "seed", "optimizer", "log_every", "checkpoint_every", "validate_every". Throws Error kUsage.
LoopConfig parse_loop_config(const nlohmann::json& config);

/// Runs the task to its last step, from the checkpoint in options.out if there is one, and leaves the averaged weights
/// in the module, which is then in evaluation mode. Returns the figures of the last validation.
Metrics run_training(TrainingTask& task, const LoopConfig& config, const TrainOptions& options);

/// A line of progress outside the loop.
void report(const TrainOptions& options, const std::string& text);

/// Throws Error kInterrupted if a stop was requested.
void check_stop(const TrainOptions& options);

/// A value of the configuration. Throws Error kUsage naming it if it is missing or of another type.
template <typename T>
T config_value(const nlohmann::json& config, const std::string& key) {
  try {
    return json_value<T>(config, key);
  } catch (const Error& e) {
    throw Error(ErrorCode::kUsage, "training {}", e.message());
  }
}

/// An object of the configuration, likewise.
inline const nlohmann::json& config_object(const nlohmann::json& config, const std::string& key) {
  const auto it = config.find(key);
  if (it == config.end() || !it->is_object()) {
    throw Error(ErrorCode::kUsage, "training config: \"{}\" is missing or no object", key);
  }
  return *it;
}

}  // namespace vtissue::models::training
