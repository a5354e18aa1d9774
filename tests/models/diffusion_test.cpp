#include "models/diffusion/objective.h"

#include "models/training/optimizer.h"
#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

constexpr double kTolerance = 1e-5;
/// Cancellation near t = 999.
constexpr double kBoundTolerance = 1e-4;

/// Every entry by itself.
void expect_each_close(const at::Tensor& ours, const at::Tensor& expected, double tolerance) {
  ASSERT_EQ(ours.sizes(), expected.sizes());
  for (std::int64_t i = 0; i < expected.numel(); ++i) {
    const double value = expected.flatten()[i].item<double>();
    EXPECT_NEAR(ours.flatten()[i].item<double>(), value, tolerance * std::abs(value)) << i;
  }
}

class DiffusionGolden : public testing::Test {
 protected:
  at::Tensor get(const char* name) const { return io_.get(name); }

  StateDict io_ = golden("diffusion_training/io.safetensors");
  DiffusionSchedule schedule_ = diffusion_schedule();
};

TEST_F(DiffusionGolden, ScheduleAgrees) {
  const at::Tensor index = get("schedule/index");
  const auto expect = [&](const std::vector<double>& values, const char* name) {
    expect_each_close(at::tensor(values, at::kDouble).index_select(0, index), get(name), 1e-12);
  };
  expect(schedule_.betas, "schedule/betas");
  expect(schedule_.alpha_bar, "schedule/alphas_cumprod");
  expect(schedule_.posterior_variance, "schedule/posterior_variance");
  expect(schedule_.posterior_log_variance, "schedule/posterior_log_variance_clipped");
  expect(schedule_.posterior_mean_x0, "schedule/posterior_mean_coef1");
  expect(schedule_.posterior_mean_xt, "schedule/posterior_mean_coef2");
  double sum = 0;
  for (const double ab : schedule_.alpha_bar) sum += ab;
  EXPECT_NEAR(sum, get("schedule/alphas_cumprod_sum").item<double>(), 1e-4);
}

TEST_F(DiffusionGolden, GaussiansAgree) {
  const at::Tensor t = get("t"), x0 = get("x0"), noise = get("noise"), output = get("model_output");
  const at::Tensor x_t = q_sample(schedule_, x0, t, noise);
  expect_close(x_t, get("x_t"), kTolerance);
  const DiagonalGaussian truth = posterior(schedule_, x0, x_t, t);
  expect_close(truth.mean, get("posterior_mean"), kTolerance);
  expect_close(truth.log_variance.flatten(), get("posterior_log_variance_clipped"), kTolerance);
  const at::Tensor variance = at::tensor(schedule_.posterior_variance, at::kDouble).index_select(0, t);
  expect_close(variance, get("posterior_variance"), kTolerance);
  const DiagonalGaussian predicted = learned_range(schedule_, output, x_t, t);
  expect_close(predicted.mean, get("p_mean"), kTolerance);
  expect_close(predicted.log_variance, get("p_log_variance"), kTolerance);
  expect_close(estimate_x0(schedule_, x_t, t, output.narrow(1, 0, 16)), get("pred_xstart"), kTolerance);
  expect_each_close(posterior_kl_bits(truth, predicted), get("kl_bits_all_t"), kBoundTolerance);
  expect_each_close(decoder_nll_bits(x0, predicted), get("decoder_nll_bits_all_t"), kBoundTolerance);
}

TEST_F(DiffusionGolden, LossAndGradientAgree) {
  const at::Tensor t = get("t"), x0 = get("x0"), noise = get("noise"), x_t = get("x_t");
  const at::Tensor output = get("model_output").clone().requires_grad_(true);
  const DiffusionLoss loss = diffusion_loss(schedule_, output, x0, x_t, t, noise);
  expect_each_close(loss.mse.detach(), get("mse"), kTolerance);
  expect_each_close(loss.vb.detach(), get("vb"), kBoundTolerance);
  expect_each_close(loss.total.detach(), get("loss"), kBoundTolerance);
  loss.total.mean().backward();
  expect_close(output.grad(), get("grad_model_output"), kBoundTolerance);
  const at::Tensor mse_gradient = 2 * (output.detach().narrow(1, 0, 16) - noise) / (16.0 * 4 * 4) / t.size(0);
  expect_close(output.grad().narrow(1, 0, 16), mse_gradient, kTolerance);

  const DiffusionLoss rescaled =
      diffusion_loss(schedule_, output.detach(), x0, x_t, t, noise, {.rescale_variance_bound = true});
  expect_each_close(rescaled.mse, get("rescaled_mse"), kTolerance);
  expect_each_close(rescaled.vb, get("rescaled_vb"), kBoundTolerance);
  expect_each_close(rescaled.total, get("rescaled_loss"), kBoundTolerance);
}

TEST_F(DiffusionGolden, RespacedBoundAgrees) {
  const DiffusionSchedule five = respaced_schedule(5);
  const at::Tensor t = get("respaced5/t"), x0 = get("x0"), noise = get("noise");
  const at::Tensor x_t = q_sample(five, x0, t, noise);
  const at::Tensor output = get("model_output");
  expect_each_close(diffusion_loss(five, output, x0, x_t, t, noise).vb, get("respaced5/vb"), kBoundTolerance);
  expect_each_close(diffusion_loss(five, output, x0, x_t, t, noise, {.rescale_variance_bound = true}).vb,
                    get("respaced5/vb_rescaled"), kBoundTolerance);
}

TEST_F(DiffusionGolden, FlowAgrees) {
  const at::Tensor x0 = get("x0"), noise = get("noise"), t = get("flow/t"), v = get("flow/v_hat");
  const at::Tensor z_t = flow_sample(x0, t, noise);
  expect_close(z_t, get("flow/z_t"), kTolerance);
  expect_close(flow_target(x0, noise), get("flow/target"), kTolerance);
  expect_close(flow_estimate_x0(z_t, t, v), get("flow/x0_from_v"), kTolerance);
  expect_each_close((v - flow_target(x0, noise)).square().flatten(1).mean(1), get("flow/mse"), kTolerance);
  expect_close(logit_normal_times(get("flow/normal")), get("flow/logit_normal_t"), kTolerance);
  expect_close(flow_sample(x0, get("flow/diffusers_sigma"), noise), get("flow/diffusers_scale_noise"), kTolerance);
  expect_close(get("flow/diffusers_sigma") * 1000, get("flow/diffusers_timesteps"), kTolerance);
}

struct TwoTensorsImpl : torch::nn::Module {
  TwoTensorsImpl(const at::Tensor& a, const at::Tensor& b)
      : p1(register_parameter("p1", a.clone())), p2(register_parameter("p2", b.clone())) {}
  at::Tensor p1;
  at::Tensor p2;
};

// AdamW with clipping and a moving average, as the reference puts them together.
TEST_F(DiffusionGolden, OptimizerAgrees) {
  const nlohmann::json config = golden_json("diffusion_training/config.json");
  TwoTensorsImpl module(get("opt/p1_0"), get("opt/p2_0"));
  training::OptimizerConfig options;
  options.lr = config["optimizer"]["lr"];
  options.warmup = 0;
  options.steps = std::int64_t{1} << 40;  // no decay of the rate to speak of
  options.beta1 = config["optimizer"]["betas"][0];
  options.beta2 = config["optimizer"]["betas"][1];
  options.eps = config["optimizer"]["eps"];
  options.weight_decay = config["optimizer"]["weight_decay"];
  options.decay_vectors = true;  // as torch's default does
  options.clip = config["clip_norm"];
  options.ema = config["ema_decay"];
  options.ema_ramp = false;
  training::Optimizer optimizer(module, options);
  const auto average = [&](const std::string& name) {
    for (const auto& [key, tensor] : optimizer.state()) {
      if (key == "average/" + name) return tensor;
    }
    return at::Tensor();
  };
  for (int step = 0; step < 3; ++step) {
    SCOPED_TRACE(step);
    const std::string now = std::to_string(step), next = std::to_string(step + 1);
    module.p1.mutable_grad() = io_.get("opt/g1_" + now).clone();
    module.p2.mutable_grad() = io_.get("opt/g2_" + now).clone();
    const double norm = io_.get("opt/norm_" + now).item<double>();
    EXPECT_NEAR(optimizer.update(step), norm, kTolerance * norm);
    const torch::NoGradGuard no_grad;
    expect_close(module.p1, io_.get("opt/p1_" + next), kTolerance);
    expect_close(module.p2, io_.get("opt/p2_" + next), kTolerance);
    expect_close(average("p1"), io_.get("opt/ema1_" + next), kTolerance);
    expect_close(average("p2"), io_.get("opt/ema2_" + next), kTolerance);
  }
}

}  // namespace
}  // namespace vtissue::models
