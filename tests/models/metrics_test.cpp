#include "models/metrics.h"

#include <cmath>
#include <limits>

#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

class Metrics : public testing::Test {
 protected:
  double frechet(const at::Tensor& x, const at::Tensor& y) { return distance(frechet_distance, x, y); }
  double kernel(const at::Tensor& x, const at::Tensor& y) { return distance(kernel_distance, x, y); }

  double distance(double (*metric)(const FeatureSet&, const FeatureSet&, Device&), const at::Tensor& x,
                  const at::Tensor& y) {
    const std::vector<float> a = to_vector(x);
    const std::vector<float> b = to_vector(y);
    return metric({a, static_cast<int>(x.size(0)), static_cast<int>(x.size(1))},
                  {b, static_cast<int>(y.size(0)), static_cast<int>(y.size(1))}, *device_);
  }

  StateDict io_ = golden("metrics/io.safetensors");
  nlohmann::json expected_ = golden_json("metrics/expected.json");
  std::shared_ptr<Device> device_ = Device::open("cpu", 1);
};

TEST_F(Metrics, FrechetDistanceAgrees) {
  for (const std::string name : {"fd/n50_d16", "fd/n20_d64", "fd/constant_column"}) {
    const double expected = expected_[name]["nuclear_norm_of_data_product"].get<double>();
    EXPECT_NEAR(frechet(io_.get(name + "/x"), io_.get(name + "/y")), expected, 1e-6 * expected) << name;
  }
  EXPECT_NEAR(frechet(io_.get("fd/identical/x"), io_.get("fd/identical/y")), 0, 1e-10);
}

TEST_F(Metrics, FrechetDistanceOfMixedRanks) {
  // More vectors than dimensions in one set alone; against a direct evaluation by eigenvalues.
  const at::Tensor x = io_.get("fd/n20_d64/x").slice(0, 0, 12).slice(1, 0, 16);
  const at::Tensor y = io_.get("fd/n50_d16/y");
  const auto covariance = [](const at::Tensor& t) {
    const at::Tensor c = t.to(at::kFloat).to(at::kDouble) - t.to(at::kFloat).to(at::kDouble).mean(0);
    return at::mm(c.t(), c) / (t.size(0) - 1);
  };
  const at::Tensor sx = covariance(x);
  const at::Tensor sy = covariance(y);
  const auto [values, vectors] = at::linalg_eigh(sx, "L");
  const at::Tensor root = at::mm(vectors * values.clamp_min(0).sqrt(), vectors.t());
  const double cross =
      at::linalg_eigvalsh(at::mm(root, at::mm(sy, root)), "L").clamp_min(0).sqrt().sum().item<double>();
  const double expected = (x.mean(0) - y.mean(0)).square().sum().item<double>() + sx.trace().item<double>() +
                          sy.trace().item<double>() - 2 * cross;
  EXPECT_NEAR(frechet(x, y), expected, 1e-6 * expected);
  EXPECT_NEAR(frechet(y, x), expected, 1e-6 * expected);
}

TEST_F(Metrics, KernelDistanceAgrees) {
  for (const std::string name : {"kid/equal", "kid/unequal"}) {
    const double expected = expected_[name]["mmd2_unbiased"].get<double>();
    EXPECT_NEAR(kernel(io_.get(name + "/x"), io_.get(name + "/y")), expected, 1e-6 * expected) << name;
  }
}

TEST_F(Metrics, KernelDistanceInBlocksIsThatOfTheWhole) {
  // More rows than a block; repeating a set changes the sum over other pairs in a known way.
  const at::Tensor x = io_.get("kid/equal/x").to(at::kFloat).to(at::kDouble).repeat({50, 1});
  const at::Tensor y = io_.get("kid/equal/y").to(at::kFloat).to(at::kDouble);
  const auto k = [](const at::Tensor& a, const at::Tensor& b) { return (at::mm(a, b.t()) / a.size(1) + 1).pow(3); };
  const auto others = [&](const at::Tensor& t) {
    const at::Tensor all = k(t, t);
    return ((all.sum() - all.diagonal().sum()) / (t.size(0) * (t.size(0) - 1))).item<double>();
  };
  const double expected = others(x) + others(y) - 2 * k(x, y).mean().item<double>();
  EXPECT_NEAR(kernel(x, y), expected, 1e-9);
}

TEST_F(Metrics, AreTheSameForAnyNumberOfThreads) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
  const at::Tensor x = at::randn({2000, 512}, generator, at::kFloat);
  const at::Tensor y = at::randn({2000, 512}, generator, at::kFloat) * 1.1 + 0.1;
  const double frechet_once = frechet(x, y);
  const double kernel_once = kernel(x, y);
  for (const int threads : {2, 3, 4}) {
    device_ = Device::open("cpu", threads);
    EXPECT_EQ(frechet(x, y), frechet_once) << threads;
    EXPECT_EQ(kernel(x, y), kernel_once) << threads;
  }
}

TEST_F(Metrics, RefuseWhatHasNoDistance) {
  const at::Tensor x = at::ones({3, 4});
  const auto refused = [&](const at::Tensor& y) {
    const auto [code, text] = error_of([&] { frechet(x, y); });
    EXPECT_EQ(code, ErrorCode::kBadInput);
    EXPECT_EQ(error_of([&] { kernel(x, y); }).first, ErrorCode::kBadInput);
    return text;
  };
  EXPECT_THAT(refused(at::ones({1, 4})), testing::HasSubstr("at least 2"));
  EXPECT_THAT(refused(at::ones({3, 5})), testing::HasSubstr("of 4 and of 5"));
  at::Tensor bad = at::ones({3, 4});
  bad[2][1] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(refused(bad), testing::HasSubstr("feature vector 2"));
}

}  // namespace
}  // namespace vtissue::models
