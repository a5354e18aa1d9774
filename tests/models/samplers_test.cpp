#include <cmath>

#include "models/samplers/sampler.h"
#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

constexpr double kTolerance = 2e-6;

/// The golden data's "network": linear in x, with a part that depends on the timestep.
std::vector<float> toy_network(const std::vector<float>& x, const std::vector<float>& c, double t) {
  const auto weight = static_cast<float>(0.1 * std::sin(t / 100));
  std::vector<float> out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) out[i] = 0.9f * x[i] + weight * c[i];
  return out;
}

/// All states of a run, [steps + 1, ...].
at::Tensor run(const Sampler& sampler, const StateDict& io, double time_unit) {
  const at::Tensor start = io.get("x_init");
  const std::vector<float> c = to_vector(io.get("c"));
  std::vector<float> x = to_vector(start);
  std::vector<float> history(x.size());
  std::vector<at::Tensor> states{start};
  for (int i = 0; i < static_cast<int>(sampler.timesteps().size()); ++i) {
    const double t = sampler.timesteps()[static_cast<std::size_t>(i)];
    sampler.step(i, x, toy_network(x, c, t * time_unit), history);
    states.push_back(at::tensor(x).view(start.sizes()));
  }
  return at::stack(states);
}

class DpmppGolden : public testing::TestWithParam<int> {};

TEST_P(DpmppGolden, TrajectoryAgrees) {
  const StateDict io = golden("samplers/io.safetensors");
  const std::string name = "dpmpp_" + std::to_string(GetParam());
  const auto sampler = make_dpmpp_2m(GetParam());
  const at::Tensor timesteps = io.get(name + "/timesteps");
  ASSERT_EQ(static_cast<std::int64_t>(sampler->timesteps().size()), timesteps.numel());
  for (std::int64_t i = 0; i < timesteps.numel(); ++i) {
    EXPECT_EQ(sampler->timesteps()[static_cast<std::size_t>(i)], timesteps[i].item<double>());
  }
  const at::Tensor states = run(*sampler, io, 1.0);
  const at::Tensor expected = io.get(name + "/traj");
  for (std::int64_t i = 0; i < expected.size(0); ++i) expect_close(states[i], expected[i], kTolerance);
  const at::Tensor exact = io.get(name + "/traj_fp64_own");
  expect_close(states[states.size(0) - 1], exact[exact.size(0) - 1], kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Steps, DpmppGolden, testing::Values(1, 2, 5, 10, 20, 30));

class FlowGolden : public testing::TestWithParam<int> {};

TEST_P(FlowGolden, TrajectoryAgrees) {
  const StateDict io = golden("samplers/io.safetensors");
  const at::Tensor expected = io.get("flow_uniform_" + std::to_string(GetParam()) + "/traj");
  const auto sampler = make_flow_euler(GetParam());
  const at::Tensor states = run(*sampler, io, 1000.0);
  for (std::int64_t i = 0; i < expected.size(0); ++i) expect_close(states[i], expected[i], kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Steps, FlowGolden, testing::Values(10, 20));

class EverySampler : public testing::TestWithParam<const char*> {};

TEST_P(EverySampler, StepsABlockAsTheWhole) {
  const auto sampler = make_sampler(GetParam(), 6);
  EXPECT_EQ(sampler->name(), GetParam());
  constexpr std::size_t kSize = 37;
  constexpr std::size_t kCut = 13;
  std::vector<float> whole(kSize);
  for (std::size_t k = 0; k < kSize; ++k) whole[k] = static_cast<float>(std::sin(1.0 + static_cast<double>(k)));
  std::vector<float> blocks = whole;
  std::vector<float> whole_history(kSize);
  std::vector<float> block_history(kSize);
  for (int i = 0; i < 6; ++i) {
    const auto prediction = toy_network(whole, whole, i);
    sampler->step(i, whole, prediction, whole_history);
    const std::span<float> x(blocks);
    const std::span<float> history(block_history);
    const std::span<const float> p(prediction);
    sampler->step(i, x.subspan(kCut), p.subspan(kCut), history.subspan(kCut));
    sampler->step(i, x.first(kCut), p.first(kCut), history.first(kCut));
    EXPECT_EQ(blocks, whole);
    EXPECT_EQ(block_history, whole_history);
  }
}

TEST_P(EverySampler, RefusesWhatDoesNotFit) {
  const auto sampler = make_sampler(GetParam(), 3);
  std::vector<float> x(4);
  std::vector<float> other(5);
  EXPECT_EQ(error_of([&] { sampler->step(0, x, other, x); }).first, ErrorCode::kUsage);
  EXPECT_EQ(error_of([&] { sampler->step(0, x, x, other); }).first, ErrorCode::kUsage);
  EXPECT_EQ(error_of([&] { sampler->step(3, x, x, x); }).first, ErrorCode::kUsage);
  EXPECT_EQ(error_of([&] { (void)make_sampler(GetParam(), 0); }).first, ErrorCode::kUsage);
}

INSTANTIATE_TEST_SUITE_P(Names, EverySampler, testing::Values("dpmpp", "flow"));

// With the true noise (or velocity) of one image as prediction, any number of steps arrives at that image.
TEST(Samplers, PerfectPredictionsLeadToTheImage) {
  const std::vector<float> image{0.5f, -1.25f, 2.0f, 0.0f};
  const std::vector<float> noise{1.0f, 0.3f, -0.7f, 2.2f};
  for (const int steps : {1, 2, 3, 7, 20, 50, 61, 100}) {
    const auto flow = make_flow_euler(steps);
    std::vector<float> x = noise;
    std::vector<float> history(x.size());
    std::vector<float> velocity(x.size());
    for (std::size_t k = 0; k < x.size(); ++k) velocity[k] = noise[k] - image[k];
    for (int i = 0; i < steps; ++i) {
      flow->step(i, x, velocity, history);
      for (std::size_t k = 0; k < x.size(); ++k) EXPECT_NEAR(history[k], image[k], 1e-5);
    }
    for (std::size_t k = 0; k < x.size(); ++k) EXPECT_NEAR(x[k], image[k], 1e-5);

    const auto dpmpp = make_dpmpp_2m(steps);
    // At t = 999 sigma / alpha is 157.4, which is what scales a start to be exactly consistent with the image.
    constexpr double kFirstRatio = 157.407281;
    const double alpha = 1 / std::sqrt(1 + kFirstRatio * kFirstRatio);
    for (std::size_t k = 0; k < x.size(); ++k) {
      x[k] = static_cast<float>(alpha * image[k] + kFirstRatio * alpha * noise[k]);
      history[k] = 0;
    }
    for (int i = 0; i < steps; ++i) dpmpp->step(i, x, noise, history);
    // x0 = (x - sigma eps) / alpha loses two digits where alpha is 1 / 157.
    for (std::size_t k = 0; k < x.size(); ++k) EXPECT_NEAR(x[k], image[k], 3e-4);
  }
}

TEST(Samplers, TimestepsOfTheDocument) {
  const auto sampler = make_dpmpp_2m(10);
  EXPECT_THAT(std::vector<double>(sampler->timesteps().begin(), sampler->timesteps().end()),
              testing::ElementsAre(999, 899, 799, 699, 599, 500, 400, 300, 200, 100));
}

TEST(Samplers, UnknownNameIsRefused) {
  const auto [code, text] = error_of([] { (void)make_sampler("ddpm", 10); });
  EXPECT_EQ(code, ErrorCode::kUsage);
  EXPECT_THAT(text, testing::HasSubstr("\"ddpm\""));
  EXPECT_THAT(text, testing::HasSubstr("dpmpp"));
}

}  // namespace
}  // namespace vtissue::models
