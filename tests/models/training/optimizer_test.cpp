#include "models/training/optimizer.h"

#include <gtest/gtest.h>
#include <torch/optim/adamw.h>

#include <cmath>
#include <limits>

#include "core/error.h"

namespace vtissue::models::training {
namespace {

TEST(LearningRate, WarmsUpAndDecaysToZero) {
  OptimizerConfig config;
  config.lr = 1.0;
  config.steps = 100;
  config.warmup = 10;
  EXPECT_DOUBLE_EQ(learning_rate(config, 0), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(config, 9), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(config, 10), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(config, 55), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(config, 100), 0.0);
}

TEST(EmaDecay, RampsUp) {
  OptimizerConfig config;
  config.ema = 0.99;
  EXPECT_DOUBLE_EQ(ema_decay(config, 0), 0.1);
  EXPECT_LT(ema_decay(config, 50), 0.99);
  EXPECT_DOUBLE_EQ(ema_decay(config, 100000), 0.99);
}

/// LibTorch's own AdamW is the slow reference; it has no clipping, decays all tensors and knows no schedule.
TEST(Optimizer, AgreesWithLibTorch) {
  torch::manual_seed(3);
  torch::nn::Linear ours(torch::nn::LinearOptions(7, 5).bias(false));
  torch::nn::Linear theirs(torch::nn::LinearOptions(7, 5).bias(false));
  {
    const torch::NoGradGuard no_grad;
    theirs->weight.copy_(ours->weight);
  }
  OptimizerConfig config;
  config.lr = 0.01;
  config.warmup = 0;
  config.steps = 1000000000;  // no decay to speak of
  config.weight_decay = 0.1;
  config.clip = 0;
  Optimizer optimizer(*ours, config);
  torch::optim::AdamW reference(theirs->parameters(),
                                torch::optim::AdamWOptions(0.01).betas({0.9, 0.999}).eps(1e-8).weight_decay(0.1));
  for (int step = 0; step < 20; ++step) {
    const at::Tensor x = at::randn({4, 7});
    optimizer.zero_grad();
    reference.zero_grad();
    ours->forward(x).square().sum().backward();
    theirs->forward(x).square().sum().backward();
    optimizer.update(step);
    reference.step();
  }
  EXPECT_TRUE(at::allclose(ours->weight, theirs->weight, 1e-5, 1e-6));
}

TEST(Optimizer, ClipsTheNormOfAllGradients) {
  torch::nn::Linear layer(3, 2);
  OptimizerConfig config;
  config.clip = 0.5;
  Optimizer optimizer(*layer, config);
  (layer->forward(at::ones({1, 3})) * 100).sum().backward();
  const double norm = optimizer.update(0);
  EXPECT_NEAR(norm, 100 * std::sqrt(2.0 * 3 + 2), 1e-3);
  for (const auto& [name, tensor] : optimizer.state()) {
    if (!name.starts_with("moment1/")) continue;
    EXPECT_LE(tensor.norm().item<double>(), 0.1 * 0.5 + 1e-6);
  }
}

TEST(Optimizer, LeavesTheWeightsAloneWhereAGradientIsNotFinite) {
  torch::nn::Linear layer(3, 2);
  Optimizer optimizer(*layer, OptimizerConfig{});
  std::vector<at::Tensor> before;
  for (const auto& [name, tensor] : optimizer.state()) before.push_back(tensor.detach().clone());
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    optimizer.zero_grad();
    (layer->forward(at::ones({1, 3})) * bad).sum().backward();
    try {
      optimizer.update(0);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kModel);
    }
    std::size_t i = 0;
    for (const auto& [name, tensor] : optimizer.state()) EXPECT_TRUE(at::equal(tensor, before[i++])) << name;
  }
}

TEST(Optimizer, SwapsTheAverageBackAndForth) {
  torch::manual_seed(1);
  torch::nn::Linear layer(3, 2);
  Optimizer optimizer(*layer, OptimizerConfig{});
  for (int step = 0; step < 3; ++step) {
    optimizer.zero_grad();
    layer->forward(at::ones({1, 3})).square().sum().backward();
    optimizer.update(step);
  }
  const at::Tensor weight = layer->weight.detach().clone();
  optimizer.swap_average();
  EXPECT_FALSE(at::equal(layer->weight, weight));
  optimizer.swap_average();
  EXPECT_TRUE(at::equal(layer->weight, weight));
}

/// The layout of a gradient in memory must not matter.
TEST(Optimizer, TakesChannelsLastWeights) {
  torch::manual_seed(2);
  torch::nn::Conv2d plain(torch::nn::Conv2dOptions(4, 6, 3));
  torch::nn::Conv2d last(torch::nn::Conv2dOptions(4, 6, 3));
  {
    const torch::NoGradGuard no_grad;
    last->weight.copy_(plain->weight);
    last->bias.copy_(plain->bias);
    last->weight.set_data(last->weight.detach().contiguous(at::MemoryFormat::ChannelsLast));
  }
  Optimizer a(*plain, OptimizerConfig{});
  Optimizer b(*last, OptimizerConfig{});
  const at::Tensor x = at::randn({2, 4, 8, 8});
  for (int step = 0; step < 3; ++step) {
    a.zero_grad();
    b.zero_grad();
    plain->forward(x).square().mean().backward();
    last->forward(x).square().mean().backward();
    a.update(step);
    b.update(step);
  }
  EXPECT_TRUE(at::allclose(plain->weight, last->weight, 1e-4, 1e-6));
}

}  // namespace
}  // namespace vtissue::models::training
