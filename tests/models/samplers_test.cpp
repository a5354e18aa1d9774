#include <cmath>

#include "models/diffusion/schedule.h"
#include "models/samplers/sampler.h"
#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

constexpr double kTolerance = 2e-6;

/// Canvases of a run, and what the golden data's "network" needs.
class Trajectory {
 public:
  Trajectory(const Sampler& sampler, std::vector<float> start)
      : sampler_(sampler), x(std::move(start)), history_(x.size()), history2_(x.size()) {}

  void update(int i, std::span<const float> prediction, std::span<const float> noise = {},
              std::span<const float> variance = {}) {
    sampler_.update(i, {.x = x,
                        .prediction = prediction,
                        .history = planes(1) ? std::span<float>(history_) : std::span<float>(),
                        .history2 = planes(2) ? std::span<float>(history2_) : std::span<float>(),
                        .noise = noise,
                        .variance = variance});
  }

  std::vector<float> history() const { return history_; }

 private:
  bool planes(int count) const { return sampler_.history_planes() >= count; }

  const Sampler& sampler_;

 public:
  std::vector<float> x;

 private:
  std::vector<float> history_;
  std::vector<float> history2_;
};

/// Linear in x, with a part that depends on the timestep.
std::vector<float> toy_network(const std::vector<float>& x, const std::vector<float>& c, double t) {
  const auto weight = static_cast<float>(0.1 * std::sin(t / 100));
  std::vector<float> out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) out[i] = 0.9f * x[i] + weight * c[i];
  return out;
}

/// u + scale (c - u).
std::vector<float> guided(const std::vector<float>& unconditional, std::vector<float> conditional, float scale) {
  for (std::size_t i = 0; i < conditional.size(); ++i) {
    conditional[i] = unconditional[i] + scale * (conditional[i] - unconditional[i]);
  }
  return conditional;
}

struct Case {
  std::string golden;  ///< prefix in the file
  SamplerOptions options;
  float guidance = 1;
};

class SamplerGolden : public testing::TestWithParam<Case> {
 protected:
  at::Tensor state(const std::vector<float>& x) const { return at::tensor(x).view(io_.get("x_init").sizes()); }

  StateDict io_ = golden("samplers/io.safetensors");
};

TEST_P(SamplerGolden, TrajectoryAgrees) {
  const auto& [name, options, guidance] = GetParam();
  const Sampler sampler = make_sampler(options);
  const std::vector<float> c = to_vector(io_.get("c"));
  const std::vector<float> c_uncond = to_vector(io_.get("c_uncond"));
  const bool respaced = name.starts_with("iddpm");
  const std::string run_name = respaced ? name + (options.name == "iddpm" ? "/ddpm_" : "/ddim_") : name + "/";
  const at::Tensor expected = io_.get(run_name + "traj");
  ASSERT_EQ(static_cast<std::int64_t>(sampler.evaluations().size()) + 1, expected.size(0));

  Trajectory run(sampler, to_vector(io_.get("x_init")));
  std::vector<float> estimate;
  for (int i = 0; i < static_cast<int>(sampler.evaluations().size()); ++i) {
    SCOPED_TRACE("evaluation " + std::to_string(i));
    const Evaluation& evaluation = sampler.evaluations()[static_cast<std::size_t>(i)];
    const double t = evaluation.t * (sampler.predicts_velocity() ? 1000.0 : 1.0);
    const std::vector<float> prediction = guided(toy_network(run.x, c_uncond, t), toy_network(run.x, c, t), guidance);
    std::vector<float> noise;
    std::vector<float> variance(c.size());
    for (std::size_t k = 0; k < c.size(); ++k) variance[k] = static_cast<float>(0.5 * std::sin(t / 70)) + 0.2f * c[k];
    if (evaluation.draw != 0) noise = to_vector(io_.get(name + "/noise")[i]);
    run.update(i, guidance == 1 ? toy_network(run.x, c, t) : prediction, noise, variance);
    expect_close(state(run.x), expected[i + 1], kTolerance);
  }
  const std::string exact = run_name + "traj_fp64_own";
  if (io_.contains(exact)) {
    const at::Tensor states = io_.get(exact);
    expect_close(state(run.x), states[states.size(0) - 1], kTolerance);
  }
}

TEST_P(SamplerGolden, TimestepsAndSigmasAgree) {
  const auto& [name, options, guidance] = GetParam();
  const Sampler sampler = make_sampler(options);
  const double unit = sampler.predicts_velocity() ? 1000.0 : 1.0;
  const auto compare = [&](const std::string& key, bool reversed) {
    if (!io_.contains(key)) return;
    const at::Tensor expected = io_.get(key).to(at::kDouble);
    ASSERT_EQ(static_cast<std::int64_t>(sampler.evaluations().size()), expected.numel());
    for (std::int64_t i = 0; i < expected.numel(); ++i) {
      const double t = sampler.evaluations()[static_cast<std::size_t>(i)].t * unit;
      const double wanted = expected[reversed ? expected.numel() - 1 - i : i].item<double>();
      if (io_.get(key).scalar_type() == at::kLong) {
        EXPECT_EQ(t, wanted) << i;
      } else {
        EXPECT_NEAR(t, wanted, kTolerance * 1000) << i;
      }
    }
  };
  compare(name + "/timesteps", false);
  compare(name + "/model_t", false);
  compare(name + "/timestep_map", true);
  if (io_.contains(name + "/sigmas")) {
    const std::vector<double> sigmas(sampler.sigmas().begin(), sampler.sigmas().end());
    expect_close(at::tensor(sigmas), io_.get(name + "/sigmas"), kTolerance);
  }
  if (io_.contains(name + "/lambda")) {
    const at::Tensor expected = io_.get(name + "/lambda");
    for (std::int64_t i = 0; i < expected.numel(); ++i) {
      SCOPED_TRACE(i);
      const double sigma = sampler.sigmas()[static_cast<std::size_t>(i)];
      const double reference = expected[i].item<double>();
      // As the reference computes it: in float32, the noise from 1 - alpha^2. At t = 0.001 that leaves it four digits.
      const auto log_alpha = static_cast<float>(-0.5 * std::log1p(sigma * sigma));
      const float in_float32 = log_alpha - 0.5f * std::log(1.0f - std::exp(2.0f * log_alpha));
      EXPECT_NEAR(in_float32, reference, kTolerance);
      if (i + 1 < expected.numel()) {
        EXPECT_NEAR(-std::log(sigma), reference, 1e-5);
      }
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const int n : {1, 2, 5, 10, 20, 30}) {
    all.push_back({"dpmpp_" + std::to_string(n), {.name = "dpmpp", .steps = n}});
  }
  all.push_back({"dpmpp_heun_20", {.name = "dpmpp_heun"}});
  all.push_back({"dpmpp_leading_20", {.name = "dpmpp", .spacing = Spacing::kLeading}});
  all.push_back({"dpmpp_trailing_20", {.name = "dpmpp", .spacing = Spacing::kTrailing}});
  all.push_back({"pixcell_dpms_5_s2", {.name = "dpmpp_pixcell", .steps = 5}, 2});
  all.push_back({"pixcell_dpms_10_s2", {.name = "dpmpp_pixcell", .steps = 10}, 2});
  all.push_back({"pixcell_dpms_20_s1", {.name = "dpmpp_pixcell"}});
  all.push_back({"pixcell_dpms_20_s2", {.name = "dpmpp_pixcell"}, 2});
  all.push_back({"ddim_leading", {.name = "ddim"}});
  all.push_back({"ddim_leading_n30", {.name = "ddim", .steps = 30}});
  all.push_back({"ddim_leading_off1_final_ab0", {.name = "ddim", .steps_offset = 1, .final_alpha_one = false}});
  all.push_back({"ddim_trailing", {.name = "ddim", .spacing = Spacing::kTrailing}});
  for (const int n : {5, 20}) {
    all.push_back({"iddpm_" + std::to_string(n), {.name = "iddpm", .steps = n}});
    all.push_back({"iddpm_" + std::to_string(n), {.name = "ddim_respaced", .steps = n}});
  }
  for (const int n : {10, 20}) {
    all.push_back({"flow_uniform_" + std::to_string(n), {.name = "flow", .steps = n}});
    all.push_back({"flow_default_" + std::to_string(n), {.name = "flow", .steps = n, .spacing = Spacing::kDiffusers}});
  }
  all.push_back({"flow_shift3_10", {.name = "flow", .steps = 10, .spacing = Spacing::kDiffusers, .shift = 3}});
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, SamplerGolden, testing::ValuesIn(cases()), [](const auto& test) {
  return test.param.golden + (test.param.options.name == "ddim_respaced" ? "_ddim" : "");
});

// Bit for bit: every rounding is where the reference has it.
TEST(Samplers, HalfPrecisionStateIsTheReferences) {
  const StateDict io = golden("samplers/io.safetensors");
  const Sampler sampler = make_sampler({.name = "dpmpp", .steps = 10, .half_state = true});
  const at::Tensor expected = io.get("dpmpp_fp16_10/traj");
  const at::Tensor c = io.get("c").to(at::kHalf);
  Trajectory run(sampler, to_vector(expected[0]));
  for (int i = 0; i < 10; ++i) {
    SCOPED_TRACE(i);
    const double t = sampler.evaluations()[static_cast<std::size_t>(i)].t;
    const at::Tensor x = at::tensor(run.x).view(c.sizes()).to(at::kHalf);
    // "In double then cast": a tensor's coefficient, so it is a float16 itself.
    const auto weight = static_cast<float>(c10::Half(static_cast<float>(0.1 * std::sin(t / 100))));
    run.update(i, to_vector(x * 0.9 + c * weight));
    const at::Tensor state = at::tensor(run.x).view(c.sizes());
    EXPECT_EQ(at::ne(state, expected[i + 1].to(at::kFloat)).sum().item<std::int64_t>(), 0);
  }
}

TEST(DiffusionSchedule, RespacedIsTheReferences) {
  const StateDict io = golden("samplers/io.safetensors");
  for (const int n : {5, 20}) {
    SCOPED_TRACE(n);
    const std::string name = "iddpm_" + std::to_string(n) + "/";
    const DiffusionSchedule s = respaced_schedule(n);
    expect_close(at::tensor(s.betas), io.get(name + "betas"), 1e-12);
    expect_close(at::tensor(s.alpha_bar), io.get(name + "alphas_cumprod"), 1e-12);
    expect_close(at::tensor(s.alpha_bar_previous), io.get(name + "alphas_cumprod_prev"), 1e-12);
    expect_close(at::tensor(s.posterior_variance), io.get(name + "posterior_variance"), 1e-12);
    expect_close(at::tensor(s.posterior_log_variance), io.get(name + "posterior_log_variance_clipped"), 1e-12);
    expect_close(at::tensor(s.posterior_mean_x0), io.get(name + "posterior_mean_coef1"), 1e-12);
    expect_close(at::tensor(s.posterior_mean_xt), io.get(name + "posterior_mean_coef2"), 1e-12);
    EXPECT_TRUE(at::equal(at::tensor(s.timestep_map).to(at::kLong), io.get(name + "timestep_map")));
  }
  EXPECT_TRUE(
      at::equal(at::tensor(respaced_schedule(250).timestep_map).to(at::kLong), io.get("iddpm_250/timestep_map")));
  EXPECT_EQ(error_of([] { (void)respaced_schedule(1001); }).first, ErrorCode::kUsage);
}

class EverySampler : public testing::TestWithParam<std::string_view> {
 protected:
  static SamplerOptions options(int steps) { return {.name = std::string(GetParam()), .steps = steps}; }
};

TEST_P(EverySampler, StepsABlockAsTheWhole) {
  const Sampler sampler = make_sampler(options(6));
  EXPECT_EQ(sampler.name(), GetParam());
  constexpr std::size_t kSize = 37;
  constexpr std::size_t kCut = 13;
  std::vector<float> c(kSize);
  for (std::size_t k = 0; k < kSize; ++k) c[k] = static_cast<float>(std::sin(1.0 + static_cast<double>(k)));
  std::vector<float> whole = c, whole_1(kSize), whole_2(kSize);
  std::vector<float> parts = c, parts_1(kSize), parts_2(kSize);
  for (int i = 0; i < static_cast<int>(sampler.evaluations().size()); ++i) {
    const auto prediction = toy_network(whole, c, i);
    const auto variance = toy_network(c, whole, i);
    const std::span<const float> p(prediction), v(variance), z(c);
    const auto update = [&](std::vector<float>& x, std::vector<float>& h1, std::vector<float>& h2, std::size_t from,
                            std::size_t count) {
      const auto cut = [&](auto span) { return span.subspan(from, count); };
      sampler.update(i, {.x = cut(std::span(x)),
                         .prediction = cut(p),
                         .history = cut(std::span(h1)),
                         .history2 = cut(std::span(h2)),
                         .noise = cut(z),
                         .variance = cut(v)});
    };
    update(whole, whole_1, whole_2, 0, kSize);
    update(parts, parts_1, parts_2, kCut, kSize - kCut);
    update(parts, parts_1, parts_2, 0, kCut);
    EXPECT_EQ(parts, whole);
    EXPECT_EQ(parts_1, whole_1);
    EXPECT_EQ(parts_2, whole_2);
  }
}

TEST_P(EverySampler, RefusesWhatDoesNotFit) {
  const Sampler sampler = make_sampler(options(3));
  std::vector<float> x(4);
  std::vector<float> other(5);
  const auto code = [&](int i, const StepBlock& block) { return error_of([&] { sampler.update(i, block); }).first; };
  EXPECT_EQ(code(0, {.x = x, .prediction = other, .history = x, .history2 = x, .noise = x, .variance = x}),
            ErrorCode::kUsage);
  EXPECT_EQ(code(99, {.x = x, .prediction = x, .history = x, .history2 = x, .noise = x, .variance = x}),
            ErrorCode::kUsage);
  if (sampler.history_planes() > 0) {
    EXPECT_EQ(code(0, {.x = x, .prediction = x, .history = other, .history2 = x}), ErrorCode::kUsage);
  }
  if (sampler.needs_variance()) {
    EXPECT_EQ(code(0, {.x = x, .prediction = x, .noise = x}), ErrorCode::kUsage);
    EXPECT_EQ(code(0, {.x = x, .prediction = x, .variance = x}), ErrorCode::kUsage);
  }
  EXPECT_EQ(error_of([&] { (void)make_sampler(options(0)); }).first, ErrorCode::kUsage);
}

// With the true noise (or velocity) of one image as prediction, any number of steps arrives at that image.
TEST_P(EverySampler, PerfectPredictionsLeadToTheImage) {
  if (GetParam() == "iddpm") GTEST_SKIP() << "draws noise of its own";
  const std::vector<float> image{0.5f, -1.25f, 2.0f, 0.0f};
  const std::vector<float> noise{1.0f, 0.3f, -0.7f, 2.2f};
  for (const int steps : {1, 2, 3, 7, 20, 50, 61, 100, 250}) {
    SCOPED_TRACE(steps);
    const Sampler sampler = make_sampler(options(steps));
    std::vector<float> prediction = noise;
    std::vector<float> start = noise;
    const double first = sampler.sigmas().front();
    const double alpha = 1 / std::sqrt(1 + first * first);
    for (std::size_t k = 0; k < image.size(); ++k) {
      if (sampler.predicts_velocity()) {
        prediction[k] = noise[k] - image[k];
      } else {
        start[k] = static_cast<float>(alpha * image[k] + first * alpha * noise[k]);
      }
    }
    Trajectory run(sampler, start);
    for (int i = 0; i < static_cast<int>(sampler.evaluations().size()); ++i) run.update(i, prediction);
    const double last = sampler.sigmas().back();
    const double last_alpha = 1 / std::sqrt(1 + last * last);
    for (std::size_t k = 0; k < image.size(); ++k) {
      // x0 = (x - sigma eps) / alpha loses two digits where alpha is 1 / 157.
      const double expected =
          sampler.predicts_velocity() ? image[k] : last_alpha * image[k] + last * last_alpha * noise[k];
      EXPECT_NEAR(run.x[k], expected, sampler.predicts_velocity() ? 3e-5 : 3e-4);
    }
  }
}

TEST_P(EverySampler, EvaluationsGoThroughTheStepsInOrder) {
  const Sampler sampler = make_sampler(options(9));
  EXPECT_EQ(sampler.sigmas().size(), 10u);
  int step = 0;
  for (const Evaluation& evaluation : sampler.evaluations()) {
    EXPECT_GE(evaluation.step, step);
    EXPECT_LE(evaluation.step, step + 1);
    step = evaluation.step;
    EXPECT_EQ(evaluation.draw != 0, sampler.needs_variance() && evaluation.step < 8);
  }
  EXPECT_EQ(step, 8);
}

INSTANTIATE_TEST_SUITE_P(Names, EverySampler, testing::ValuesIn(sampler_names().begin(), sampler_names().end()),
                         [](const auto& test) { return std::string(test.param); });

TEST(Samplers, TimestepsOfTheDocument) {
  const Sampler sampler = make_sampler({.name = "dpmpp", .steps = 10});
  std::vector<double> t;
  for (const Evaluation& evaluation : sampler.evaluations()) t.push_back(evaluation.t);
  EXPECT_THAT(t, testing::ElementsAre(999, 899, 799, 699, 599, 500, 400, 300, 200, 100));
}

// models.md 7.1: coefficients of 20 steps.
TEST(Samplers, CoefficientsOfTheDocument) {
  const Sampler sampler = make_sampler({.name = "dpmpp", .steps = 20});
  const auto coefficients = [&](int i) {
    const double sigma = sampler.sigmas()[static_cast<std::size_t>(i)];
    const double alpha = 1 / std::sqrt(1 + sigma * sigma);
    const auto after = [&](float x, float x0, float previous) {
      // The prediction that makes the estimate x0.
      std::vector<float> state{x}, history{previous};
      const std::vector<float> prediction{static_cast<float>((x - alpha * x0) / (sigma * alpha))};
      sampler.update(i, {.x = state, .prediction = prediction, .history = history});
      return static_cast<double>(state[0]);
    };
    return std::array{after(1, 0, 0), after(0, 1, 0), after(0, 0, 1)};
  };
  const auto near = [](const std::array<double, 3>& ours, double a, double c0, double c1) {
    EXPECT_NEAR(ours[0], a, 1e-5);
    EXPECT_NEAR(ours[1], c0, 1e-5);
    EXPECT_NEAR(ours[2], c1, 1e-5);
  };
  near(coefficients(0), 0.999966, 0.004044, 0);
  near(coefficients(5), 0.998184, 0.037728, -0.012044);
  near(coefficients(13), 0.919450, 0.207630, -0.069211);
  near(coefficients(18), 0.535315, 0.855309, -0.376920);
  near(coefficients(19), 0, 1, 0);
}

// The trapezoid's error falls with the square of the step, Euler's with the step.
TEST(Samplers, HeunIsOfSecondOrder) {
  // dx/dt = x from 1 down to 0: x(0) = x(1) / e.
  const auto error = [](const std::string& name, int steps) {
    const Sampler sampler = make_sampler({.name = name, .steps = steps});
    Trajectory run(sampler, {1.0f});
    for (int i = 0; i < static_cast<int>(sampler.evaluations().size()); ++i) run.update(i, std::vector<float>(run.x));
    return std::abs(run.x[0] - std::exp(-1.0));
  };
  EXPECT_LT(error("flow_heun", 16), 0.3 * error("flow", 16));
  EXPECT_LT(error("flow_heun", 32), 0.35 * error("flow_heun", 16));
}

TEST(Samplers, HeunEvaluatesBothEndsOfAStepInOneLayout) {
  const Sampler sampler = make_sampler({.name = "flow_heun", .steps = 3});
  const auto evaluations = sampler.evaluations();
  ASSERT_EQ(evaluations.size(), 5u);
  EXPECT_EQ(evaluations[0].step, evaluations[1].step);
  EXPECT_EQ(evaluations[1].t, evaluations[2].t);
  EXPECT_NE(evaluations[1].step, evaluations[2].step);
}

TEST(Samplers, RefusesWhatASamplerDoesNotKnow) {
  const auto refused = [](const SamplerOptions& options) {
    const auto [code, text] = error_of([&] { (void)make_sampler(options); });
    EXPECT_EQ(code, ErrorCode::kUsage);
    return text;
  };
  EXPECT_THAT(refused({.name = "ddpm"}), testing::AllOf(testing::HasSubstr("\"ddpm\""), testing::HasSubstr("iddpm")));
  EXPECT_THAT(refused({.name = "flow", .spacing = Spacing::kLeading}), testing::HasSubstr("auto, uniform, diffusers"));
  EXPECT_THAT(refused({.name = "dpmpp", .spacing = Spacing::kUniform}), testing::HasSubstr("linspace"));
  EXPECT_THAT(refused({.name = "dpmpp", .shift = 3}), testing::HasSubstr("shift"));
  EXPECT_THAT(refused({.name = "flow", .shift = 0}), testing::HasSubstr("positive"));
  EXPECT_THAT(refused({.name = "ddim", .half_state = true}), testing::HasSubstr("float16"));
  EXPECT_THAT(refused({.name = "ddim", .steps = 1000, .steps_offset = 5}), testing::HasSubstr("offset 5"));
  EXPECT_THAT(refused({.name = "dpmpp", .steps = 1000}), testing::HasSubstr("999"));
}

}  // namespace
}  // namespace vtissue::models
