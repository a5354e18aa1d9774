#include "models/training/frozen.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/cancerfoundation/binning.h"
#include "models/json_value.h"
#include "models/model_folder.h"
#include "models/training/neighbourhood.h"
#include "models/training/training_set.h"

namespace vtissue::models::training {
namespace {

void require_path(const std::filesystem::path& folder, std::string_view option) {
  if (folder.empty()) throw Error(ErrorCode::kUsage, "{} DIR is missing: a model that this training needs", option);
}

/// Rows are worked on in parts of this size, to bound memory.
constexpr std::int64_t kPart = 64;

template <typename Function>
at::Tensor in_parts(const at::Tensor& rows, Function&& function) {
  std::vector<at::Tensor> results;
  for (const at::Tensor& part : rows.split(kPart)) results.push_back(function(part));
  return at::cat(results);
}

}  // namespace

FrozenEncoder FrozenEncoder::open(const std::filesystem::path& path) {
  require_path(path, "--encoder");
  const ModelFolder folder = ModelFolder::open(path, {"vit"});
  const VitConfig config = folder.read_config([](const nlohmann::json& json) { return parse_vit_config(json); });
  FrozenEncoder encoder;
  encoder.sha256 = folder.info().sha256;
  encoder.vit = Vit(config);
  load(*encoder.vit, folder.weights());
  encoder.vit->eval();
  encoder.px = config.image_px;
  encoder.dim = config.dim;
  encoder.preprocessing_ = config.preprocessing;
  encoder.mean_ = at::tensor(at::ArrayRef<float>(config.preprocessing.mean.data(), 3)).view({1, 3, 1, 1});
  encoder.std_ = at::tensor(at::ArrayRef<float>(config.preprocessing.std.data(), 3)).view({1, 3, 1, 1});
  return encoder;
}

at::Tensor FrozenEncoder::encode(const at::Tensor& rgb) {
  const torch::NoGradGuard no_grad;
  return in_parts(rgb, [&](const at::Tensor& part) { return vit->forward((to_unit_range(part) - mean_) / std_); });
}

at::Tensor FrozenEncoder::encode_resized(const at::Tensor& rgb) {
  const torch::NoGradGuard no_grad;
  const auto height = static_cast<int>(rgb.size(1)), width = static_cast<int>(rgb.size(2));
  const std::size_t bytes = static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * 3;
  const std::size_t values = 3 * static_cast<std::size_t>(px) * static_cast<std::size_t>(px);
  return in_parts(rgb.contiguous(), [&](const at::Tensor& part) {
    at::Tensor images = at::empty({part.size(0), 3, px, px}, at::kFloat);
    for (std::int64_t i = 0; i < part.size(0); ++i) {
      const auto at = static_cast<std::size_t>(i);
      preprocess({part.const_data_ptr<std::uint8_t>() + at * bytes, bytes}, height, width, preprocessing_,
                 {images.data_ptr<float>() + at * values, values});
    }
    return vit->forward(images);
  });
}

FrozenAutoencoder FrozenAutoencoder::open(const std::filesystem::path& path) {
  require_path(path, "--autoencoder");
  const ModelFolder folder = ModelFolder::open(path, {"taesd"});
  const TaesdConfig config = folder.read_config([](const nlohmann::json& json) { return parse_taesd_config(json); });
  FrozenAutoencoder autoencoder;
  autoencoder.sha256 = folder.info().sha256;
  autoencoder.taesd = Taesd(config);
  load(*autoencoder.taesd, folder.weights());
  autoencoder.taesd->eval();
  autoencoder.channels = config.latent_channels;
  for (at::Tensor& weight : autoencoder.taesd->parameters()) {
    if (weight.dim() == 4) weight.set_data(weight.detach().contiguous(at::MemoryFormat::ChannelsLast));
  }
  return autoencoder;
}

at::Tensor FrozenAutoencoder::encode(const at::Tensor& rgb) {
  const torch::NoGradGuard no_grad;
  return taesd->encode(to_unit_range(rgb));
}

at::Tensor FrozenAutoencoder::decode(const at::Tensor& latents) {
  const torch::NoGradGuard no_grad;
  return in_parts(
      latents, [&](const at::Tensor& part) { return taesd->decode(part.contiguous(at::MemoryFormat::ChannelsLast)); });
}

FrozenPredictor FrozenPredictor::open(const std::filesystem::path& path) {
  require_path(path, "--predictor");
  const ModelFolder folder = ModelFolder::open(path, {"deepspot"});
  const DeepSpotConfig config =
      folder.read_config([](const nlohmann::json& json) { return parse_deepspot_config(json); });
  FrozenPredictor predictor;
  predictor.genes = folder.read_config(
      [](const nlohmann::json& json) { return json_value<std::vector<std::string>>(json, "genes"); });
  predictor.encoder_sha256 = folder.read_config(
      [](const nlohmann::json& json) { return json_value<std::string>(json, "encoder_sha256", ""); });
  predictor.deepspot = DeepSpot(config);
  const StateDict weights = folder.weights();
  LoadRules rules;
  rules.may_ignore = [](const std::string& name) { return name.starts_with("scaler."); };
  load(*predictor.deepspot, weights, rules);
  predictor.deepspot->eval();
  predictor.mean_ = weights.get("scaler.mean").to(at::kFloat);
  predictor.scale_ = weights.get("scaler.scale").to(at::kFloat);
  return predictor;
}

at::Tensor FrozenPredictor::predict(const Neighbourhood& input) {
  const torch::NoGradGuard no_grad;
  return (deepspot->forward(input.spot, input.sub, input.neighbors, input.mask) * scale_ + mean_).clamp_min(0);
}

FrozenExpression FrozenExpression::open(const std::filesystem::path& path) {
  require_path(path, "--expression");
  const ModelFolder folder = ModelFolder::open(path, {"cancerfoundation"});
  FrozenExpression expression;
  std::vector<std::int64_t> ids;
  const CancerFoundationConfig config = folder.read_config([&](const nlohmann::json& json) {
    expression.genes = json_value<std::vector<std::string>>(json, "genes");
    expression.bins = json_int(json, "bins", 3, 10000);
    const nlohmann::json vocabulary = json_object(json, "vocab");
    ids.push_back(json_value<std::int64_t>(vocabulary, "<cls>"));
    for (const std::string& gene : expression.genes) ids.push_back(json_value<std::int64_t>(vocabulary, gene));
    return parse_cancerfoundation_config(json, static_cast<int>(vocabulary.size()));
  });
  expression.sha256 = folder.info().sha256;
  expression.dim = config.dim;
  expression.network = CancerFoundation(config);
  load(*expression.network, folder.weights());
  expression.network->eval();
  expression.ids_ = at::tensor(ids).unsqueeze(0);
  return expression;
}

at::Tensor FrozenExpression::encode(const at::Tensor& values) {
  const torch::NoGradGuard no_grad;
  return in_parts(bin_rows(values, bins), [&](const at::Tensor& part) { return hidden(part).select(1, 0); });
}

at::Tensor FrozenExpression::encode_vectors(const at::Tensor& values) {
  const torch::NoGradGuard no_grad;
  return in_parts(bin_rows(values, bins), [&](const at::Tensor& part) { return hidden(part); });
}

at::Tensor FrozenExpression::hidden(const at::Tensor& binned) {
  return network->forward(ids_.expand({binned.size(0), -1}), binned, false);
}

at::Tensor bin_rows(const at::Tensor& values, int bins) {
  const at::Tensor source = values.to(at::kFloat).contiguous();
  const auto genes = static_cast<std::size_t>(source.size(1));
  at::Tensor result = at::full({source.size(0), source.size(1) + 1}, kCfClassValue, at::kFloat);
  for (std::int64_t i = 0; i < source.size(0); ++i) {
    bin_expression({source.const_data_ptr<float>() + static_cast<std::size_t>(i) * genes, genes}, bins,
                   {result.data_ptr<float>() + static_cast<std::size_t>(i) * (genes + 1) + 1, genes});
  }
  return result;
}

void require_genes(const std::vector<std::string>& model, const std::vector<std::string>& set, std::string_view what) {
  if (model != set) {
    throw Error(ErrorCode::kModel,
                "{}: reads {} genes, the training set has {}, or in another order; train it on this set", what,
                model.size(), set.size());
  }
}

}  // namespace vtissue::models::training
