#pragma once

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "models/stmdit/stmdit.h"
#include "models/training/checkpoint.h"
#include "models/training/frozen.h"
#include "models/training/train.h"
#include "tests/models/training/toy_set.h"

namespace vtissue::models::training {

namespace fs = std::filesystem;
using nlohmann::json;

inline json optimizer(int steps, double lr) {
  return {{"steps", steps}, {"accumulate", 1},      {"lr", lr},    {"warmup", 3}, {"beta1", 0.9},
          {"beta2", 0.95},  {"weight_decay", 0.01}, {"clip", 1.0}, {"ema", 0.9}};
}

/// A network of each role small enough for a test; sizes match over roles.
inline json toy_config(Role role) {
  json config{
      {"role", to_string(role)}, {"seed", 11}, {"log_every", 1}, {"checkpoint_every", 4}, {"validate_every", 1000}};
  switch (role) {
    case Role::kAutoencoder:
      config["optimizer"] = optimizer(24, 3e-3);
      config["model"] = {{"architecture", "taesd"},
                         {"name", "toy"},
                         {"latent_channels", 4},
                         {"width", 8},
                         {"encoder_blocks", {1, 0, 0, 1}},
                         {"decoder_blocks", {1, 0, 0, 1}},
                         {"pooled_mid", false}};
      config["autoencoder"] = {{"batch", 4},
                               {"crop_px", 32},
                               {"min_tissue", 0.6},
                               {"latent_noise", 0.05},
                               {"gradient_weight", 1.0},
                               {"texture_weight", 1.0},
                               {"whiten_weight", 0.01},
                               {"pca_crops", 4},
                               {"validation_crops", 4},
                               {"freeze_encoder_entry", true}};
      config["distillation"] = {{"batch", 4}, {"latent_noise", 0.05}, {"optimizer", optimizer(6, 3e-3)}};
      break;
    case Role::kEncoder:
      config["optimizer"] = optimizer(24, 3e-3);
      config["model"] = {{"architecture", "vit"},
                         {"name", "toy"},
                         {"image_px", 32},
                         {"patch_px", 16},
                         {"dim", 16},
                         {"depth", 2},
                         {"heads", 2},
                         {"mlp_ratio", 2},
                         {"mlp", "gelu"},
                         {"layer_scale", true},
                         {"class_token_in_table", true},
                         {"registers", 0},
                         {"mean", {0.5, 0.5, 0.5}},
                         {"std", {0.2, 0.2, 0.2}},
                         {"layer_norm_eps", 1e-6}};
      config["encoder"] = {{"batch", 16},           {"min_tissue", 0.6},  {"shift_px", 4},
                           {"stain_jitter", 0.05},  {"temperature", 0.2}, {"contrast_weight", 0.3},
                           {"layout_weight", 1.0},  {"projection", 8},    {"layer_scale_init", 0.5},
                           {"validation_crops", 16}};
      break;
    case Role::kPredictor:
      config["optimizer"] = optimizer(40, 5e-3);
      config["model"] = {
          {"architecture", "deepspot"}, {"name", "toy"}, {"context", "spot_neighbors"}, {"ensemble", 2}, {"width", 16}};
      config["predictor"] = {{"batch", 16},       {"augmentations", 2},    {"jitter_px", 2},
                             {"min_tissue", 0.3}, {"feature_noise", 0.05}, {"top_genes", 3}};
      break;
    case Role::kExpression:
      config["optimizer"] = optimizer(40, 3e-3);
      config["model"] = {{"architecture", "cancerfoundation"},
                         {"name", "toy"},
                         {"dim", 8},
                         {"layers", 1},
                         {"heads", 2},
                         {"ff", 16},
                         {"bins", 9},
                         {"dropout", 0.1}};
      config["expression"] = {{"batch", 16},       {"masked_low", 0.1},      {"masked_high", 0.4},
                              {"thin_low", 0.5},   {"predicted_share", 0.5}, {"class_weight", 1.0},
                              {"min_tissue", 0.6}, {"validation_rows", 16}};
      break;
    case Role::kStmdit:
      config["optimizer"] = optimizer(30, 5e-3);
      config["model"] = {{"architecture", "stmdit"},
                         {"name", "toy"},
                         {"variant", "adaln+xattn"},
                         {"xattn_mode", "concat"},
                         {"pool", "cls"},
                         {"objective", "flow"},
                         {"dim", 32},
                         {"depth", 2},
                         {"heads", 2},
                         {"mlp_ratio", 2},
                         {"patch", 2},
                         {"interpolation_scale", 0.0625},
                         {"learn_sigma", false}};
      config["stmdit"] = {{"batch", 16},
                          {"min_tissue", 0.6},
                          {"morphology_dropout", 0.5},
                          {"gene_dropout", 0.5},
                          {"morphology_noise", 0.1},
                          {"gene_noise", 0.1},
                          {"section_balance", 0.2},
                          {"spot_share", 0.5},
                          {"pseudo_labels", true},
                          {"spot_jitter_px", 4},
                          {"canvases", 2},
                          {"window_px", 64},
                          {"halo_px", 16},
                          {"validation_crops", 8},
                          {"samples", 2},
                          {"sample_steps", 2},
                          {"guidance_morphology", 2.0},
                          {"guidance_gene", 1.5}};
      break;
  }
  return config;
}

/// Stands in for the published autoencoder: its layout, toy sizes, random weights.
inline void write_toy_published(const fs::path& folder) {
  fs::create_directories(folder);
  torch::manual_seed(1);
  TaesdConfig config = parse_taesd_config(toy_config(Role::kAutoencoder)["model"]);
  config.latent_channels = 32;
  config.pooled_mid = true;
  const Taesd model(config);
  save_tensors(folder / "taef2_encoder.safetensors", weights_of(*model->encoder));
  save_tensors(folder / "taef2_decoder.safetensors", weights_of(*model->decoder));
}

/// Toy networks, trained once for a suite.
class ToyTraining {
 protected:
  static void train_all(std::span<const Role> roles) {
    root_ = new fs::path(fs::temp_directory_path() / ("vtissue-train-test-" + std::to_string(::getpid())));
    fs::remove_all(*root_);
    fs::create_directories(*root_);
    write_toy_set(*root_);
    write_toy_published(*root_ / "published");
    for (const Role role : roles) train(options(role, *root_ / std::string(to_string(role))));
  }
  static void remove_all() {
    fs::remove_all(*root_);
    delete root_;
    root_ = nullptr;
  }

  static TrainOptions options(Role role, const fs::path& out) {
    TrainOptions options;
    options.role = role;
    options.config = toy_config(role);
    options.data = *root_ / "toy.safetensors";
    options.out = out;
    if (role == Role::kAutoencoder) options.init = *root_ / "published";
    options.autoencoder = *root_ / "ae";
    options.encoder = *root_ / "encoder";
    options.predictor = *root_ / "predictor";
    options.expression = *root_ / "expression";
    options.threads = 1;
    return options;
  }

  static std::string content(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  static std::vector<json> lines(const fs::path& path) {
    std::vector<json> entries;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) entries.push_back(json::parse(line));
    return entries;
  }

  static fs::path trained(Role role) { return *root_ / std::string(to_string(role)); }

  inline static fs::path* root_ = nullptr;
};

}  // namespace vtissue::models::training
