#include "models/training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <sstream>

#include "core/atomic_file.h"
#include "models/training/checkpoint.h"
#include "models/training/figures.h"
#include "models/training/loss_plot.h"
#include "models/training/random.h"

namespace vtissue::models::training {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string clock_text(double seconds) {
  const auto s = static_cast<long>(seconds);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string text_of(const Metrics& metrics) {
  std::string text;
  for (const auto& [name, value] : metrics) text += fmt::format(" {} {:.4g}", name, value);
  return text;
}

/// train.jsonl: lines after the checkpoint's step are dropped, since those steps are run again.
class Journal {
 public:
  Journal(const fs::path& path, std::int64_t done) : path_(path) {
    std::ifstream old(path_);
    std::string line;
    while (std::getline(old, line)) {
      const auto entry = nlohmann::json::parse(line, nullptr, false);
      if (entry.is_object() && entry.value("step", done + 1) <= done) kept_ += line + "\n";
    }
    write_file_atomically(path_, kept_);
  }

  void add(const nlohmann::ordered_json& entry) {
    std::ofstream out(path_, std::ios::app);
    out << entry.dump() << "\n";
    if (!out.flush()) throw_output_error(path_, "write", errno);
  }

 private:
  fs::path path_;
  std::string kept_;
};

/// The optimizer's state, the module's buffers and what is not trained, in one file, so that they always belong
/// together.
class CheckpointFile {
 public:
  CheckpointFile(const fs::path& path, TrainingTask& task, const Optimizer& optimizer, const std::string& identity)
      : path_(path), identity_(identity), tensors_(optimizer.state()) {
    for (const auto& item : task.module().named_buffers()) tensors_.emplace_back("buffer/" + item.key(), item.value());
    for (const auto& item : task.module().named_parameters()) {
      if (!item.value().requires_grad()) tensors_.emplace_back("frozen/" + item.key(), item.value());
    }
  }

  /// Steps done; 0 if there is no checkpoint.
  std::int64_t load() const {
    if (!fs::exists(path_)) return 0;
    const auto metadata = load_tensors(path_, tensors_);
    const auto identity = metadata.find("identity");
    if (identity == metadata.end() || identity->second != identity_) {
      throw Error(ErrorCode::kUsage,
                  "{}: made with another configuration, training set or model that it starts from; use another --out, "
                  "or remove it to start anew",
                  path_.string());
    }
    return std::stoll(metadata.at("step"));
  }

  void save(std::int64_t step) const {
    save_tensors(path_, tensors_, {{"step", std::to_string(step)}, {"identity", identity_}});
  }

 private:
  fs::path path_;
  std::string identity_;
  NamedTensors tensors_;
};

/// What must not change between the parts of a training. How often it is logged, checked or saved may.
std::string identity_of(const TrainOptions& options) {
  nlohmann::json config = options.config;
  for (const char* key : {"log_every", "checkpoint_every", "validate_every"}) config.erase(key);
  config["inputs"] = options.inputs;
  return config.dump();
}

}  // namespace

double ema_for_steps(std::int64_t steps) { return std::max(0.0, 1.0 - 20.0 / static_cast<double>(steps)); }

LoopConfig parse_loop_config(const nlohmann::json& config) {
  LoopConfig loop;
  loop.seed = config_value<std::uint64_t>(config, "seed");
  loop.log_every = config_value<std::int64_t>(config, "log_every");
  loop.checkpoint_every = config_value<std::int64_t>(config, "checkpoint_every");
  loop.validate_every = config_value<std::int64_t>(config, "validate_every");
  const auto& optimizer = config_object(config, "optimizer");
  loop.optimizer.lr = config_value<double>(optimizer, "lr");
  loop.optimizer.steps = config_value<std::int64_t>(optimizer, "steps");
  loop.optimizer.warmup = config_value<std::int64_t>(optimizer, "warmup");
  loop.optimizer.beta1 = config_value<double>(optimizer, "beta1");
  loop.optimizer.beta2 = config_value<double>(optimizer, "beta2");
  loop.optimizer.weight_decay = config_value<double>(optimizer, "weight_decay");
  loop.optimizer.clip = config_value<double>(optimizer, "clip");
  loop.accumulate = config_value<int>(optimizer, "accumulate");
  if (loop.optimizer.steps < 1 || loop.accumulate < 1 || loop.log_every < 1 || loop.checkpoint_every < 1 ||
      loop.validate_every < 1) {
    throw Error(ErrorCode::kUsage,
                "training config: \"steps\", \"accumulate\", \"log_every\", \"checkpoint_every\" and "
                "\"validate_every\" must be "
                "1 or more");
  }
  const bool fitted = optimizer.contains("ema") && optimizer["ema"] == "auto";
  loop.optimizer.ema = fitted ? ema_for_steps(loop.optimizer.steps) : config_value<double>(optimizer, "ema");
  return loop;
}

void report(const TrainOptions& options, const std::string& text) {
  if (options.progress) options.progress({.step = 0, .steps = 0, .text = text});
}

void check_stop(const TrainOptions& options) {
  if (options.stop_requested && options.stop_requested()) {
    throw Error(ErrorCode::kInterrupted, "{}: stopped; the same command goes on from here", options.out.string());
  }
}

Metrics run_training(TrainingTask& task, const LoopConfig& config, const TrainOptions& options) {
  Optimizer optimizer(task.module(), config.optimizer);
  const CheckpointFile checkpoint(options.out / "checkpoint.safetensors", task, optimizer, identity_of(options));
  const std::int64_t first = checkpoint.load();
  Journal journal(options.out / "train.jsonl", first);
  const std::int64_t steps = config.optimizer.steps;

  const auto validate = [&](std::int64_t done) {
    optimizer.swap_average();
    task.module().eval();
    Metrics figures;
    {
      const torch::NoGradGuard no_grad;
      figures = task.validate();
    }
    task.module().train();
    optimizer.swap_average();
    journal.add({{"step", done}, {"validation", to_json(figures)}});
    write_loss_plot(options.out / "loss.svg", options.out / "train.jsonl");
    if (options.progress) options.progress({done, steps, "validation:" + text_of(figures)});
    return figures;
  };

  task.module().train();
  Metrics figures;
  if (first == 0 || first >= steps) figures = validate(first);
  auto interval_start = Clock::now();
  std::int64_t interval_first = first;
  double training_seconds = 0;
  for (std::int64_t step = first; step < steps; ++step) {
    Metrics metrics;
    optimizer.zero_grad();
    double value = 0;
    for (std::int64_t batch = step * config.accumulate; batch < (step + 1) * config.accumulate; ++batch) {
      // Dropout inside the networks draws from LibTorch's generator.
      torch::manual_seed(derived_seed(config.seed, Purpose::kDropout, static_cast<std::uint32_t>(batch)));
      metrics.clear();
      const at::Tensor loss = task.loss(batch, metrics) / config.accumulate;
      loss.backward();
      value += loss.item<double>();
    }
    const double norm = optimizer.update(step);
    if (!std::isfinite(value)) {
      throw Error(ErrorCode::kUsage, "step {}: the loss is {}; lower \"optimizer.lr\" and train in another folder",
                  step, value);
    }

    const std::int64_t done = step + 1;
    const bool stop = options.stop_requested && options.stop_requested();
    const bool last = done == steps;
    if (done % config.log_every == 0 || last || stop) {
      const double seconds = seconds_since(interval_start);
      training_seconds += seconds;
      const double rate = static_cast<double>((done - interval_first) * config.accumulate * task.batch()) / seconds;
      const double left = training_seconds / static_cast<double>(done - first) * static_cast<double>(steps - done);
      nlohmann::ordered_json entry{{"step", done}, {"loss", value}};
      entry.update(to_json(metrics));
      entry["lr"] = learning_rate(config.optimizer, step);
      entry["gradient_norm"] = norm;
      entry["images_per_s"] = rate;
      entry["eta_s"] = std::round(left);
      journal.add(entry);
      if (options.progress) {
        options.progress(
            {done, steps,
             fmt::format("loss {:.4f}{} | {:.1f}/s, {} left", value, text_of(metrics), rate, clock_text(left))});
      }
      interval_start = Clock::now();
      interval_first = done;
    }
    if (done % config.checkpoint_every == 0 || last || stop) checkpoint.save(done);
    if (stop && !last) check_stop(options);
    if (done % config.validate_every == 0 || last) {
      const auto pause = Clock::now();
      figures = validate(done);
      interval_start += Clock::now() - pause;
    }
  }
  optimizer.swap_average();
  task.module().eval();
  return figures;
}

}  // namespace vtissue::models::training
