#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace vtissue::models::training {

/// The networks of the family, in the order in which they need each other.
enum class Role { kAutoencoder, kEncoder, kPredictor, kExpression, kStmdit };

std::string_view to_string(Role role);  ///< as on the command line: "ae", "encoder" …

/// Throws Error kUsage.
Role parse_role(std::string_view name);

/// One line of progress.
struct TrainEvent {
  std::int64_t step = 0;   ///< done
  std::int64_t steps = 0;  ///< of the whole training
  std::string text;        ///< loss, rate and time left, or what is being prepared
};

struct TrainOptions {
  Role role = Role::kAutoencoder;
  nlohmann::json config;       ///< see configs/train/
  std::filesystem::path data;  ///< the training set
  std::filesystem::path out;   ///< of this training alone; a training found there goes on
  /// ae: the folder with taef2_encoder.safetensors and taef2_decoder.safetensors. stmdit: a PixCell or STMDiT to go on
  /// from, or empty.
  std::filesystem::path init;
  std::filesystem::path autoencoder;  ///< folders of models trained before; stmdit needs all four,
  std::filesystem::path encoder;      ///< the predictor the encoder, expression the encoder and the predictor
  std::filesystem::path predictor;
  std::filesystem::path expression;
  nlohmann::json inputs = nlohmann::json::object();  ///< what was trained from, by content: filled in by train()
  int threads = 0;                                   ///< 0: as many as cores
  std::function<bool()> stop_requested;              ///< polled every step; may be empty
  std::function<void(const TrainEvent&)> progress;   ///< called on the caller's thread; may be empty
};

/// Sets a value of the configuration by its dotted name ("optimizer.lr"); the text is read as JSON, or else as a
/// string. Throws Error kUsage if there is no such value.
void set_config_value(nlohmann::json& config, std::string_view assignment);

/// Trains a network and writes into `out`: config.json, model.safetensors (the averaged weights, float16),
/// figures.json (what was measured on the validation sections), train.jsonl (one line an interval), sample pictures
/// *.ppm, and checkpoint.safetensors, from which the same call goes on after an interruption; on one machine the
/// result is that of an uninterrupted training. Throws Error kInterrupted once a requested stop has been
/// saved, kBadInput for data, kModel for models that do not fit, kUsage for the configuration. Uses LibTorch's global
/// generator and thread settings: one training in a process at a time.
void train(const TrainOptions& options);

}  // namespace vtissue::models::training
