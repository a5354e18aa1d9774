#include "models/training/pca_fold.h"

#include "core/error.h"

namespace vtissue::models::training {
namespace {

constexpr double kClamp = 3.0;  // of the decoder's entry, models.md 3.5

at::Tensor clamped(const at::Tensor& z) { return at::tanh(z / kClamp) * kClamp; }

void copy_all_but(torch::nn::Sequential& target, const torch::nn::Sequential& source, const std::string& but) {
  const auto from = source->named_parameters();
  for (const auto& item : target->named_parameters()) {
    if (item.key().starts_with(but)) continue;
    const at::Tensor* value = from.find(item.key());
    if (value == nullptr || value->sizes() != item.value().sizes()) {
      throw Error(ErrorCode::kModel, "autoencoder: '{}' is not in the published weights in this shape", item.key());
    }
    at::Tensor to = item.value();
    to.copy_(*value);
  }
}

}  // namespace

double fold_pca(const Taesd& source, const Taesd& target, const at::Tensor& latents) {
  const torch::NoGradGuard no_grad;
  const auto channels = latents.size(1);
  const auto kept = static_cast<std::int64_t>(target->config().latent_channels);
  const std::string last = std::to_string(source->encoder->size() - 1);
  Taesd to = target;
  copy_all_but(to->encoder, source->encoder, last + ".");
  copy_all_but(to->decoder, source->decoder, "1.");

  const at::Tensor rows = latents.permute({0, 2, 3, 1}).reshape({-1, channels}).to(at::kDouble);
  const at::Tensor mean = rows.mean(0);
  const at::Tensor centred = rows - mean;
  const at::Tensor covariance = centred.t().matmul(centred) / static_cast<double>(rows.size(0) - 1);
  const auto [values, vectors] = at::linalg_eigh(covariance);  // ascending
  const at::Tensor top_values = values.narrow(0, channels - kept, kept).flip(0);
  const at::Tensor top_vectors = vectors.narrow(1, channels - kept, kept).flip(1);
  const at::Tensor whiten = (top_vectors / top_values.sqrt()).t();  // [kept, channels]

  // The decoder sees clamped latents of either kind: the map between those is the one that matters.
  const at::Tensor ours = clamped(centred.matmul(whiten.t()));
  const at::Tensor theirs = clamped(rows);
  const at::Tensor design = at::cat({ours, at::ones({ours.size(0), 1}, ours.options())}, 1);
  const at::Tensor solution = at::linalg_solve(design.t().matmul(design), design.t().matmul(theirs));
  const at::Tensor unwhiten = solution.narrow(0, 0, kept);  // [kept, channels]
  const at::Tensor offset = solution[kept];                 // [channels]

  const auto parameter = [](const torch::nn::Sequential& layers, const std::string& name) {
    return layers->named_parameters()[name].to(at::kDouble);
  };
  const auto assign = [](torch::nn::Sequential& layers, const std::string& name, const at::Tensor& value) {
    layers->named_parameters()[name].copy_(value);
  };
  const at::Tensor out_weight = parameter(source->encoder, last + ".weight");  // [channels, width, 3, 3]
  const at::Tensor out_bias = parameter(source->encoder, last + ".bias");
  assign(to->encoder, last + ".weight", at::einsum("kc,cwyx->kwyx", {whiten, out_weight}));
  assign(to->encoder, last + ".bias", whiten.matmul(out_bias - mean));
  const at::Tensor in_weight = parameter(source->decoder, "1.weight");  // [width, channels, 3, 3]
  const at::Tensor in_bias = parameter(source->decoder, "1.bias");
  assign(to->decoder, "1.weight", at::einsum("kc,wcyx->wkyx", {unwhiten, in_weight}));
  assign(to->decoder, "1.bias", in_bias + at::einsum("c,wcyx->w", {offset, in_weight}));
  return (top_values.sum() / values.sum()).item<double>();
}

}  // namespace vtissue::models::training
