#include "models/training/random.h"

#include <gtest/gtest.h>

#include <cmath>

namespace vtissue::models::training {
namespace {

TEST(RandomStream, IsAFunctionOfItsArguments) {
  RandomStream a(5, Purpose::kCrop, 3, 1);
  RandomStream b(5, Purpose::kCrop, 3, 1);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(a.bits(), b.bits());
  RandomStream other_step(5, Purpose::kCrop, 4, 1);
  RandomStream other_purpose(5, Purpose::kAugment, 3, 1);
  RandomStream other_seed(6, Purpose::kCrop, 3, 1);
  RandomStream first(5, Purpose::kCrop, 3, 1);
  const auto value = first.bits();
  EXPECT_NE(other_step.bits(), value);
  EXPECT_NE(other_purpose.bits(), value);
  EXPECT_NE(other_seed.bits(), value);
}

TEST(RandomStream, BelowStaysBelowAndReachesAll) {
  RandomStream random(1, Purpose::kRow, 0, 0);
  std::vector<int> seen(5, 0);
  for (int i = 0; i < 500; ++i) ++seen.at(random.below(5));
  for (const int n : seen) EXPECT_GT(n, 50);
}

TEST(RandomStream, BinomialHasItsMean) {
  for (const std::uint32_t trials : {40u, 4000u}) {
    RandomStream random(2, Purpose::kCounts, 0, trials);
    double sum = 0;
    for (int i = 0; i < 2000; ++i) {
      const auto value = random.binomial(trials, 0.3);
      ASSERT_LE(value, trials);
      sum += value;
    }
    EXPECT_NEAR(sum / 2000, 0.3 * trials, 0.02 * trials);
  }
}

TEST(NormalTensor, IsStandardNormalAndDoesNotDependOnThreads) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = normal_tensor(9, Purpose::kLatentNoise, 12, {3, 10001});
  at::set_num_threads(2);
  const at::Tensor two = normal_tensor(9, Purpose::kLatentNoise, 12, {3, 10001});
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(one, two));
  EXPECT_NEAR(one.mean().item<double>(), 0, 0.02);
  EXPECT_NEAR(one.std().item<double>(), 1, 0.02);
  EXPECT_FALSE(at::equal(one, normal_tensor(9, Purpose::kLatentNoise, 13, {3, 10001})));
}

}  // namespace
}  // namespace vtissue::models::training
