#include "models/training/pca_fold.h"

#include <gtest/gtest.h>

namespace vtissue::models::training {
namespace {

TaesdConfig small(int channels) {
  TaesdConfig config;
  config.latent_channels = channels;
  config.width = 16;
  config.encoder_blocks = {1, 0, 0, 1};
  config.decoder_blocks = {1, 0, 0, 1};
  return config;
}

/// Latents far inside the clamp, where it is the identity.
Taesd gentle_source(int channels) {
  torch::manual_seed(4);
  Taesd source(small(channels));
  const torch::NoGradGuard no_grad;
  for (const auto& item : source->encoder->named_parameters()) {
    at::Tensor value = item.value();
    if (item.key().starts_with("5.")) value.mul_(0.02);
  }
  return source;
}

double difference(Taesd& a, Taesd& b, const at::Tensor& image) {
  const torch::NoGradGuard no_grad;
  // The borders see zeros where the other network saw its mean latent.
  const auto inner = [](const at::Tensor& x) { return x.narrow(2, 24, x.size(2) - 48).narrow(3, 24, x.size(3) - 48); };
  const at::Tensor reference = inner(a->decode(a->encode(image)));
  const at::Tensor result = inner(b->decode(b->encode(image)));
  return ((result - reference).square().mean() / (reference - reference.mean()).square().mean()).item<double>();
}

TEST(FoldPca, KeepsTheReconstructionIfItKeepsAllChannels) {
  const torch::NoGradGuard no_grad;
  Taesd source = gentle_source(6);
  Taesd target(small(6));
  const at::Tensor image = at::rand({4, 3, 96, 96});
  EXPECT_NEAR(fold_pca(source, target, source->encode(image)), 1.0, 1e-9);
  // The whitened latents do reach the clamp: its part that is not linear is what remains.
  EXPECT_LT(difference(source, target, image), 0.02);
}

TEST(FoldPca, WhitensAndLosesNoMoreThanTheDroppedVariance) {
  const torch::NoGradGuard no_grad;
  Taesd source = gentle_source(6);
  Taesd target(small(3));
  const at::Tensor image = at::rand({8, 3, 96, 96});
  const at::Tensor latents = source->encode(image);
  const double kept = fold_pca(source, target, latents);
  EXPECT_GT(kept, 0.5);
  EXPECT_LT(kept, 1.0);
  const at::Tensor z = target->encode(image).permute({0, 2, 3, 1}).reshape({-1, 3});
  EXPECT_TRUE(at::allclose(z.mean(0), at::zeros({3}), 0, 1e-3));
  const at::Tensor centred = z - z.mean(0);
  const at::Tensor covariance = centred.t().matmul(centred) / static_cast<double>(z.size(0));
  EXPECT_TRUE(at::allclose(covariance, at::eye(3), 0, 0.01)) << covariance;
}

TEST(FoldPca, LeadingComponentsComeFirst) {
  const torch::NoGradGuard no_grad;
  Taesd source = gentle_source(6);
  Taesd few(small(2));
  Taesd more(small(4));
  const at::Tensor image = at::rand({8, 3, 96, 96});
  const at::Tensor latents = source->encode(image);
  EXPECT_LT(fold_pca(source, few, latents), fold_pca(source, more, latents));
  EXPECT_TRUE(at::allclose(few->encode(image).abs(), more->encode(image).narrow(1, 0, 2).abs(), 1e-3, 1e-3));
}

}  // namespace
}  // namespace vtissue::models::training
