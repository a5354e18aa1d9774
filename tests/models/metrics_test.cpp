#include "models/metrics.h"

#include <algorithm>
#include <array>
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

// Independently, by eigenvalues; `offset` times the identity is what some implementations add to the covariances.
double by_eigenvalues(const at::Tensor& x, const at::Tensor& y, double offset) {
  const auto covariance = [&](const at::Tensor& t) {
    const at::Tensor c = t - t.mean(0);
    return at::mm(c.t(), c) / (t.size(0) - 1) + offset * at::eye(t.size(1), at::kDouble);
  };
  const at::Tensor sx = covariance(x), sy = covariance(y);
  const auto [values, vectors] = at::linalg_eigh(sx, "L");
  const at::Tensor root = at::mm(vectors * values.clamp_min(0).sqrt(), vectors.t());
  const double cross =
      at::linalg_eigvalsh(at::mm(root, at::mm(sy, root)), "L").clamp_min(0).sqrt().sum().item<double>();
  const double traces =
      sx.trace().item<double>() + sy.trace().item<double>() - offset * 2 * static_cast<double>(x.size(1));
  return (x.mean(0) - y.mean(0)).square().sum().item<double>() + traces - 2 * cross;
}

TEST_F(Metrics, FrechetDistanceIsThatOfTheOtherImplementations) {
  for (const std::string name : {"fd/n50_d16", "fd/n20_d64", "fd/constant_column", "fd/identical"}) {
    SCOPED_TRACE(name);
    const nlohmann::json& expected = expected_[name];
    const at::Tensor x = io_.get(name + "/x"), y = io_.get(name + "/y");
    const double scale = std::max(1.0, expected["nuclear_norm_of_data_product"].get<double>());
    for (const char* method : {"scipy_sqrtm", "torchmetrics_eigvals", "symmetric_eigh"}) {
      EXPECT_NEAR(frechet(x, y), expected[method].get<double>(), 1e-6 * scale) << method;
    }
    EXPECT_NEAR(by_eigenvalues(x, y, 0), expected["symmetric_eigh"].get<double>(), 1e-6 * scale);
    // The customary offset of 1e-6 shifts the result, below zero for equal sets: there is none here.
    const double shifted = expected["scipy_sqrtm_1e6_offset"].get<double>();
    EXPECT_GT(std::abs(frechet(x, y) - shifted), 1e-5);
  }
}

std::vector<double> doubles(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kDouble).contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

TEST_F(Metrics, PearsonAgrees) {
  const std::vector<double> a = doubles(io_.get("pearson/a")), b = doubles(io_.get("pearson/b"));
  const std::vector<double> r = pearson_by_column(a, b, 8);
  const auto expected = expected_["pearson"]["nan_to_zero"].get<std::vector<double>>();
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(r[i], expected[i], 1e-6) << i;
  EXPECT_EQ(error_of([&] { (void)pearson_by_column(a, b, 7); }).first, ErrorCode::kBadInput);
  const std::vector<double> constant(6, 0.1), other{1, 2, 3, 4, 5, 6};
  EXPECT_EQ(pearson_by_column(constant, other, 1)[0], 0.0);
}

TEST_F(Metrics, PearsonAreaAgrees) {
  const auto top_n = expected_["auc"]["top_n"].get<std::vector<int>>();
  const std::vector<double> rank = doubles(io_.get("auc/rank"));
  std::array<double, 2> normalized{};
  std::size_t i = 0;
  for (const std::string kind : {"generated", "real"}) {
    const nlohmann::json& expected = expected_["auc"][kind];
    const std::vector<double> pearson = doubles(io_.get("auc/pearson_" + kind));
    const PearsonArea area = pearson_area(pearson, rank, top_n);
    const auto medians = expected["median_by_top_n"].get<std::vector<double>>();
    for (std::size_t k = 0; k < medians.size(); ++k) EXPECT_NEAR(area.medians[k], medians[k], 1e-9);
    EXPECT_NEAR(area.raw, expected["area_raw"].get<double>(), 1e-6);
    EXPECT_NEAR(area.normalized, expected["area_normalised"].get<double>(), 1e-6);
    normalized[i++] = area.normalized;

    const nlohmann::json& reference = expected["he2st_bootstrap_300"];
    const double deviation = reference["std"].get<double>();
    const Bootstrap bootstrap = pearson_area_bootstrap(pearson, rank, top_n, 300, 1);
    EXPECT_NEAR(bootstrap.mean, reference["mean"].get<double>(), 4 * deviation / std::sqrt(300.0));
    EXPECT_NEAR(bootstrap.std, deviation, 0.25 * deviation);
    EXPECT_EQ(pearson_area_bootstrap(pearson, rank, top_n, 300, 1).mean, bootstrap.mean);
    EXPECT_NE(pearson_area_bootstrap(pearson, rank, top_n, 300, 2).mean, bootstrap.mean);
  }
  EXPECT_NEAR(normalized[0] / normalized[1], expected_["auc"]["ratio_generated_to_real"].get<double>(), 1e-6);
  const std::vector<int> falling{10, 5}, one{5}, none{0, 5};
  for (const auto& bad : {falling, one, none}) {
    EXPECT_EQ(error_of([&] { (void)pearson_area(rank, rank, bad); }).first, ErrorCode::kBadInput);
  }
}

TEST_F(Metrics, ImagesAgree) {
  const auto planes = [&](const char* name) { return to_vector(io_.get(name).to(at::kFloat) / 255); };
  const std::vector<float> reference = planes("image/a_u8");
  for (const std::string kind : {"noisy", "blurred"}) {
    SCOPED_TRACE(kind);
    const nlohmann::json& expected = expected_["image/" + kind];
    const std::vector<float> image = planes(("image/" + kind + "_u8").c_str());
    EXPECT_NEAR(psnr(image, reference), expected["psnr"].get<double>(), 1e-5);
    EXPECT_NEAR(std::pow(10, -psnr(image, reference) / 10), expected["mse"].get<double>(), 1e-8);
    std::vector<float> map(image.size());
    EXPECT_NEAR(ssim(image, reference, 3, 96, 80, SsimWindows::kReflected, map),
                expected["ssim_reflect_fp64"].get<double>(), 1e-6);
    EXPECT_NEAR(ssim(image, reference, 3, 96, 80, SsimWindows::kInside),
                expected["ssim_valid_window_fp64"].get<double>(), 1e-6);
    // torchmetrics computes in float32.
    EXPECT_NEAR(ssim(image, reference, 3, 96, 80, SsimWindows::kReflected), expected["ssim"].get<double>(), 1e-5);
    if (kind == "noisy") {
      const at::Tensor expected_map = io_.get("image/noisy_ssim_map");
      EXPECT_LT((at::tensor(map).view({3, 96, 80}) - expected_map).abs().max().item<double>(), 1e-3);
      EXPECT_LT((at::tensor(map).view({3, 96, 80}) - expected_map).abs().mean().item<double>(), 1e-5);
    }
  }
  EXPECT_EQ(psnr(reference, reference), std::numeric_limits<double>::infinity());
  EXPECT_NEAR(ssim(reference, reference, 3, 96, 80, SsimWindows::kInside), 1, 1e-12);
  EXPECT_EQ(error_of([&] { (void)psnr(reference, std::span(reference).first(3)); }).first, ErrorCode::kBadInput);
  EXPECT_EQ(error_of([&] { (void)ssim(reference, reference, 3, 80, 95, SsimWindows::kInside); }).first,
            ErrorCode::kBadInput);
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
